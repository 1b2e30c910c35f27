"""Muon for the hidden matrices, AdamW for embeddings, head and vectors, as one optimizer that Trainer can save.

Knows parameters and their shapes; knows nothing of Trainer, data or schedules.

Muon: K. Jordan et al., https://kellerjordan.github.io/posts/muon/; the update of a matrix is orthogonalized, so that
every direction of it learns at the same rate. AdamW: https://arxiv.org/abs/1711.05101.
"""

import torch
from torch import Tensor, nn


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Pushes all singular values of each matrix towards one, (n, rows, columns) -> (n, rows, columns).

    Newton-Schulz iteration with the quintic coefficients of the Muon post; the values end between 0.7 and 1.2. Each
    iteration multiplies by a polynomial in the Gram matrix, so all of them are carried out on that smaller square.
    """
    x = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    tall = x.size(-2) > x.size(-1)
    gram = x.mT @ x if tall else x @ x.mT
    product = factor = _factor(gram)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    return x @ product if tall else product @ x


def _factor(gram: Tensor) -> Tensor:
    """3.4445 - 4.7750 gram + 2.0315 gram^2, by which one iteration multiplies."""
    factor = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
    factor.diagonal(dim1=-2, dim2=-1).add_(3.4445)
    return factor


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups marked `muon`, AdamW for the others.

    A GPT-2 block stores its weights as (in, out), and query, key and value side by side in one (width, 3 width)
    matrix: the three are orthogonalized apart. Updates are scaled by sqrt(max(1, out / in)), so one rate serves all.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        muon_lr: float,
        momentum: float,
        betas: tuple[float, float],
        weight_decay: float,
    ):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        hidden = [p for name, p in named if p.ndim == 2 and ".h." in name]
        others = [p for name, p in named if not (p.ndim == 2 and ".h." in name)]
        self._adamw = torch.optim.AdamW(others, lr=lr, betas=betas, weight_decay=0.0, fused=True)
        muon = {"params": hidden, "muon": True, "lr": muon_lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([muon, {**self._adamw.param_groups[0], "muon": False}], {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            if group["muon"]:
                self._muon(group)
        # Both halves share one state, which is what `state_dict` saves and a resumed run loads.
        self._adamw.state = self.state
        self._adamw.param_groups = [group for group in self.param_groups if not group["muon"]]
        self._adamw.step()
        return loss

    def _muon(self, group: dict) -> None:
        updates: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for p in (p for p in group["params"] if p.grad is not None):
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(p)
            state["momentum"].lerp_(p.grad, 1 - group["momentum"])
            update = p.grad.lerp(state["momentum"], group["momentum"])  # Nesterov
            p.mul_(1 - group["lr"] * group["weight_decay"])
            columns = p.size(0) if p.size(1) == 3 * p.size(0) else p.size(1)
            for weight, part in zip(p.split(columns, dim=1), update.split(columns, dim=1)):
                updates.setdefault(part.shape, []).append((weight, part))
        for shape, pairs in updates.items():  # matrices of one shape in one batched product
            scale = max(1.0, shape[1] / shape[0]) ** 0.5
            for (weight, _), step in zip(pairs, orthogonalize(torch.stack([part for _, part in pairs]))):
                weight.add_(step, alpha=-group["lr"] * scale)
