"""Muon for the hidden matrices and AdamW for all other weights, in one optimizer.

Muon: K. Jordan et al., https://kellerjordan.github.io/posts/muon/. It makes the update of a matrix
orthogonal, so that every direction of the matrix learns at the same rate.
AdamW: https://arxiv.org/abs/1711.05101.

docs/speed.md says why `torch.optim.Muon` cannot be used here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95  # as in the Muon post


def orthogonalize(matrices: Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Moves all singular values of each matrix towards one, (n, rows, columns) -> the same shape.

    This is the Newton-Schulz iteration with the coefficients of the Muon post. The singular values
    end between 0.7 and 1.2. They must start at one or below, so the matrix is divided by an upper
    bound of the largest one. The bound from the norm of the Gram matrix is closer than the norm of
    the matrix. So fewer singular values stay small.

    Args:
        dtype: type of the products. bfloat16 is precise enough.
    """
    is_tall = matrices.size(-2) > matrices.size(-1)
    x = matrices.mT if is_tall else matrices
    x = (x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)).to(dtype)
    for step in range(steps):
        gram = x @ x.mT
        if step == 0:
            bound = gram.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
            x, gram = x / bound.sqrt(), gram / bound
        factor = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, factor, x, beta=3.4445)
    return (x.mT if is_tall else x).to(matrices.dtype)


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups marked `muon`, AdamW for the others.

    A GPT-2 block stores its weights as (in, out), and query, key and value next to each other in
    one (width, 3 width) matrix. Each of the three is made orthogonal on its own. Updates are scaled
    by sqrt(max(1, out / in)), so that one learning rate serves all shapes.

    `weight_decay` is for the hidden matrices. Vectors, such as biases, have none.
    """

    def __init__(
        self,
        model: nn.Module,
        lr: float,
        muon_lr: float,
        betas: tuple[float, float],
        weight_decay: float,
        embedding_weight_decay: float = 0.0,
        bf16: bool = False,
        eps: float = 1e-8,
    ):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        hidden = [p for name, p in named if p.ndim == 2 and ".h." in name]
        others = [p for name, p in named if not (p.ndim == 2 and ".h." in name)]
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._embedding_weight_decay = embedding_weight_decay
        self._adamw = torch.optim.AdamW(
            others, lr=lr, betas=betas, eps=eps, weight_decay=0.0, fused=True
        )
        muon = {"params": hidden, "muon": True, "lr": muon_lr, "weight_decay": weight_decay}
        super().__init__([muon, {**self._adamw.param_groups[0], "muon": False}], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            if group["muon"]:
                self._muon(group)
            elif self._embedding_weight_decay:
                embeddings = [p for p in group["params"] if p.ndim == 2]
                torch._foreach_mul_(embeddings, 1 - group["lr"] * self._embedding_weight_decay)
        # Both share one state: `state_dict` saves it, and a resumed run loads it.
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
            state["momentum"].lerp_(p.grad, 1 - MOMENTUM)
            update = p.grad.lerp(state["momentum"], MOMENTUM)  # Nesterov
            p.mul_(1 - group["lr"] * group["weight_decay"])
            is_query_key_value = p.size(1) == 3 * p.size(0)
            columns = p.size(0) if is_query_key_value else p.size(1)
            parts = zip(p.split(columns, dim=1), update.split(columns, dim=1), strict=True)
            for weight, part in parts:
                updates.setdefault(part.shape, []).append((weight, part))
        for shape, pairs in updates.items():  # one batched product for all matrices of one shape
            scale = max(1.0, shape[1] / shape[0]) ** 0.5
            stacked = orthogonalize(torch.stack([part for _, part in pairs]), dtype=self._dtype)
            for (weight, _), direction in zip(pairs, stacked, strict=True):
                weight.add_(direction, alpha=-group["lr"] * scale)
