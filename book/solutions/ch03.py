"""Solution of the exercise of chapter 3."""

from collections.abc import Callable


def descend(
    slope: Callable[[float], float], start: float, rate: float, beta: float, steps: int
) -> float:
    """Returns the weight after some steps of gradient descent with momentum."""
    weight, velocity = start, 0.0
    for _ in range(steps):
        velocity = beta * velocity + slope(weight)
        weight -= rate * velocity
    return weight
