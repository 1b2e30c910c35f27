"""Solution of the exercise of chapter 4."""

import math

Vector = list[float]


def attend(query: Vector, keys: list[Vector], values: list[Vector]) -> Vector:
    """Returns the mean of the values, weighted by how well their keys fit the query."""
    scores = [sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    powers = [math.exp(score / math.sqrt(len(query))) for score in scores]
    weights = [power / sum(powers) for power in powers]
    return [
        sum(w * v for w, v in zip(weights, column, strict=True))
        for column in zip(*values, strict=True)
    ]
