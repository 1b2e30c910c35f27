"""GPT-2's GELU without a tanh, for compiled code on a CPU.

Knows one function; changes no value of it beyond rounding, and nothing in saved checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_SLOPE, _CUBE = 2 * math.sqrt(2 / math.pi), 0.044715


class GeluBySigmoid(nn.Module):
    """(…) -> (…): x (1 + tanh(y)) / 2 = x sigmoid(2y), for the y of GELU's approximation (arXiv:1606.08415).

    A vector of sigmoids takes half as long as one of tanhs.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(_SLOPE * x * (1 + _CUBE * x * x))


def patch_gelu(model: PreTrainedModel) -> None:
    """Computes so in all blocks of a GPT-2 whose `activation_function` is `gelu_pytorch_tanh`, the same function."""
    for block in model.base_model.h:
        block.mlp.act = GeluBySigmoid()
