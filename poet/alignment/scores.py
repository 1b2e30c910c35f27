"""Turns a model's logits into the scores that `generate` samples from.

It knows a generation config; it does not know poems.
"""

import torch
from torch import Tensor
from transformers import GenerationConfig


def sampling_scores(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Returns float32 scores (…, vocabulary): divided by the temperature, without suppressed tokens.

    `generate` treats logits the same way before it samples. `top_k` and `top_p` are not applied.
    The result may share memory with `logits`, which then changes.
    """
    scores = logits.float()
    scores /= config.temperature or 1.0
    scores[..., config.suppress_tokens or []] = -torch.inf
    return scores
