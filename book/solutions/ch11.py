"""Solution of the exercise of chapter 11."""

import math


def steer(before: dict[str, float], allowed: set[str]) -> tuple[dict[str, float], float]:
    """Sets forbidden characters to zero, and divides the others by their sum."""
    left = sum(probability for name, probability in before.items() if name in allowed)
    if left == 0:
        raise ValueError("no allowed character can be written here")
    after = {name: p / left if name in allowed else 0.0 for name, p in before.items()}
    return after, -math.log(left)
