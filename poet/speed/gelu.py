"""Computes GPT-2's GELU without a tanh, for compiled code on a CPU.

It knows one function. Values change only by rounding. Saved checkpoints do not change.
"""

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from poet.speed.versions import CannotPatch, check_version

_SLOPE, _CUBE = 2 * math.sqrt(2 / math.pi), 0.044715


class GeluBySigmoid(nn.Module):
    """Computes x (1 + tanh(y)) / 2 as x sigmoid(2y), for the y of GELU's approximation.

    The shape stays the same. A vector of sigmoids takes half the time of a vector of tanhs.
    The approximation is from arXiv:1606.08415.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(_SLOPE * x * (1 + _CUBE * x * x))


def patch_gelu(model: PreTrainedModel) -> None:
    """Replaces the activation in all blocks of a GPT-2.

    Raises:
        CannotPatch: this version of transformers is untested, or the model has another activation
            function.
    """
    check_version("transformers")
    name = getattr(model.config, "activation_function", None)
    if name != "gelu_pytorch_tanh":
        raise CannotPatch(f"the model's activation function is {name}")
    blocks = getattr(model.base_model, "h", [])
    if not blocks or not all(hasattr(getattr(block, "mlp", None), "act") for block in blocks):
        raise CannotPatch("the model's blocks have no mlp.act")
    for block in blocks:
        block.mlp.act = GeluBySigmoid()
