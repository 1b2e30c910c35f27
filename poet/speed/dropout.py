"""Draws the mask of dropout outside of compiled code, on a CPU.

It knows one layer. Compiled code draws one 32-bit number per value, with a function that cannot be
vectorized. That takes as long as the rest of a small model. Here a value takes one byte, and the
compiled code only multiplies.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from poet.speed.versions import check_version

_VALUES = 256  # of a byte


@torch.library.custom_op(
    "poet::dropout_mask", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,)
)
def dropout_mask(shape: list[int], dropped: int) -> Tensor:
    """Returns the mask. On average `dropped` of 256 values are 0.

    The other values are above 1, so that the mean of the mask is 1.

    The bytes come from torch's own generator. Checkpoints have its state, so a resumed run gets the
    same mask.

    Returns:
        float32 values of this shape.
    """
    count = torch.Size(shape).numel()
    words = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[:count].view(shape) >= dropped
    return kept.float().mul_(_VALUES / (_VALUES - dropped))


@dropout_mask.register_fake
def _(shape: list[int], dropped: int) -> Tensor:
    return torch.empty(shape)


class ByteDropout(nn.Module):
    """Dropout with a chance that is rounded to a multiple of 1/256. The shape stays the same."""

    def __init__(self, p: float):
        super().__init__()
        self.dropped = round(_VALUES * p)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return (x * dropout_mask(list(x.shape), self.dropped)).to(x.dtype)


def patch_dropout(model: PreTrainedModel) -> bool:
    """Replaces the dropout layers of a model, and returns whether it has any that drop something.

    Raises:
        CannotPatch: this version of torch is untested.
    """
    places = [
        (module, name, layer)
        for module in model.modules()
        for name, layer in module.named_children()
        if type(layer) is nn.Dropout and 0 < round(_VALUES * layer.p) < _VALUES
    ]
    if places:
        check_version("torch")
    for module, name, layer in places:
        setattr(module, name, ByteDropout(layer.p).train(layer.training))
    return bool(places)
