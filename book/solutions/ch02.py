"""Solution of the exercise of chapter 2."""

import math


def perplexity(probabilities: list[float]) -> float:
    """Returns e to the power of the mean loss."""
    losses = [-math.log(p) for p in probabilities]
    return math.exp(sum(losses) / len(losses))
