"""Solution of the exercise of chapter 9."""

import math


def pull(margin: float, beta: float) -> float:
    """Returns beta times sigmoid(-margin), the slope of -ln(sigmoid(margin)) without its sign."""
    return beta / (1 + math.exp(margin))
