"""Muon for the hidden matrices, AdamW for embeddings, head and vectors, as one optimizer that Trainer can save.

Knows parameters and their shapes; knows nothing of Trainer, data or schedules.

Muon: K. Jordan et al., https://kellerjordan.github.io/posts/muon/; the update of a matrix is orthogonalized, so that
every direction of it learns at the same rate. AdamW: https://arxiv.org/abs/1711.05101.
"""

import torch
from torch import Tensor, nn


def orthogonalize(matrices: Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pushes all singular values of each matrix towards one, (n, rows, columns) -> (n, rows, columns).

    Newton-Schulz iteration with the quintic coefficients of the Muon post; the values end between 0.7 and 1.2. They begin at
    most at one: the norm of the Gram matrix bounds the largest more closely than the matrix's own, so that fewer stay small.

    Args:
        dtype: of the products; bfloat16 is enough where the hardware has it.
    """
    tall = matrices.size(-2) > matrices.size(-1)
    x = matrices.mT if tall else matrices
    x = (x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)).to(dtype)
    for step in range(steps):
        gram = x @ x.mT
        if step == 0:
            bound = gram.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
            x, gram = x / bound.sqrt(), gram / bound
        factor = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, factor, x, beta=3.4445)
    return (x.mT if tall else x).to(matrices.dtype)


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
        bf16: bool = False,
        eps: float = 1e-8,
    ):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        hidden = [p for name, p in named if p.ndim == 2 and ".h." in name]
        others = [p for name, p in named if not (p.ndim == 2 and ".h." in name)]
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._adamw = torch.optim.AdamW(
            others, lr=lr, betas=betas, eps=eps, weight_decay=0.0, fused=True
        )
        muon = {
            "params": hidden,
            "muon": True,
            "lr": muon_lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
        }
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
            stacked = torch.stack([part for _, part in pairs])
            for (weight, _), step in zip(
                pairs, orthogonalize(stacked, dtype=self._dtype), strict=True
            ):
                weight.add_(step, alpha=-group["lr"] * scale)
