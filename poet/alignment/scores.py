"""Applies a generation config to a model's logits, as `generate` does before it samples.

It knows generation configs. It does not know poems.
"""

import torch
from torch import Tensor
from transformers import GenerationConfig


def sampling_scores(logits: Tensor, config: GenerationConfig) -> Tensor:
    """Divides logits by the temperature, and sets suppressed tokens to minus infinity.

    `generate` does the same before it samples. `top_k` and `top_p` are not applied. The result is
    in float32. Logits that are already in float32 are changed in place.

    Args:
        logits: (…, vocabulary).
        config: Gives `temperature` and `suppress_tokens`.
    """
    scores = logits.float()
    scores /= config.temperature or 1.0
    scores[..., config.suppress_tokens or []] = -torch.inf
    return scores
