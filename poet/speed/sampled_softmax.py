"""Chooses the characters for which a step of pretraining computes scores.

The last layer does half of the multiplications of a small model. A step of 2,048 tokens has some
800 different characters, out of thousands. A sampled step scores only *candidates*: the characters
of its own text, filled up to a fixed number with characters drawn by their frequency. Each score is
lowered by the logarithm of the chance that its character is a candidate, so that the gradients are
right on average.

Sampled softmax: Jean et al., arXiv:1412.2007. A batch as the sample: arXiv:1708.05997.

It knows labels and counts. scoring.py computes the loss. poet/training/sampled_steps.py decides
which steps are sampled.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LEAST_GAIN = 2  # a sample of more than half of the vocabulary saves little
DEVIATIONS = 4  # standard deviations above the mean: only one batch in 30,000 needs more


class CannotSample(ValueError):
    """A sample of this size would save nothing, be too small for a batch, or give another loss."""


class SampledVocabulary:
    """Draws the candidates of each training step.

    A draw depends only on the seed, the step and the batch. A resumed run therefore draws the same
    candidates, also with several processes or workers.

    Args:
        ids: the training text, or a part of it, as token ids. The frequencies come from it.
        vocabulary: the number of tokens of the model.
        size: the number of candidates per step.
        tokens: the number of tokens per batch.

    Raises:
        CannotSample: the vocabulary is too small for a sample, or a batch needs a larger one.
    """

    def __init__(
        self, ids: Sequence[int] | Tensor, vocabulary: int, size: int, tokens: int, seed: int
    ):
        if vocabulary < LEAST_GAIN * size:
            raise CannotSample(f"the vocabulary has only {vocabulary:,} tokens")
        counts = torch.bincount(torch.as_tensor(ids), minlength=vocabulary).double()
        self.frequencies = (counts + 1) / (counts + 1).sum()  # each token has some chance
        in_batch = chance(self.frequencies, tokens)
        deviation = (in_batch * (1 - in_batch)).sum().sqrt()
        most = min(tokens, int(in_batch.sum() + DEVIATIONS * deviation))
        if most > size:
            raise CannotSample(f"a batch can have {most:,} different tokens")
        self.size, self.seed = size, seed
        draws = draws_for(self.frequencies, size)
        self.log_chance = chance(self.frequencies, draws).log().float()  # (vocabulary,)

    def candidates(self, labels: Tensor, step: int) -> Tensor | None:
        """Returns the ids that are scored for these labels, in order, (size,).

        Args:
            labels: (batch, positions). -100 marks positions without a label.

        Returns:
            None if the labels have more different ids.
        """
        own = labels[labels >= 0].unique()
        if len(own) > self.size:
            return None
        seed = zlib.crc32(labels.numpy().tobytes(), (self.seed + step) % 2**32)
        generator = torch.Generator().manual_seed(seed)
        # The largest of log(frequency) + Gumbel noise are a draw by frequency, without repetition.
        uniform = torch.rand(len(self.frequencies), generator=generator, dtype=torch.float64)
        order = self.frequencies.log() - (-uniform.log()).log()
        order[own] = torch.inf
        return order.topk(self.size, sorted=False).indices.sort().values

    def sample(self, inputs: dict[str, Any], step: int) -> dict[str, Any]:
        """Returns the inputs of a step with its candidates. `labels` become indices of them."""
        labels = inputs["labels"]
        found = self.candidates(labels, step)
        if found is None:
            return inputs
        places = torch.searchsorted(found, labels)
        return {
            **inputs,
            "labels": torch.where(labels < 0, labels, places),
            "candidates": found,
            "log_chance": self.log_chance[found],
        }


def chance(frequencies: Tensor, draws: float) -> Tensor:
    """Returns the chance of each token to be among `draws` draws, (vocabulary,) -> the same."""
    return -torch.expm1(draws * torch.log1p(-frequencies))


def draws_for(frequencies: Tensor, size: int) -> float:
    """Returns the number of draws that give `size` different tokens on average."""
    low, high = 0.0, float(size)
    while chance(frequencies, high).sum() < size:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(frequencies, middle).sum() < size else (low, middle)
    return high
