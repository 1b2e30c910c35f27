"""Exercise of chapter 2: the perplexity of a guess.

    python book/exercises/ch02.py      # tests your function

Write `perplexity`. Do not use the functions of torch or of the chapter.
"""

import math


def perplexity(probabilities: list[float]) -> float:
    """Returns the perplexity of a text.

    Args:
        probabilities: The probability that the model gave to each token that came next.
    """
    raise NotImplementedError("write this function")


def check(perplexity) -> None:
    """Fails if `perplexity` is wrong."""
    assert math.isclose(perplexity([0.25, 0.25, 0.25]), 4), "three guesses among four tokens"
    assert math.isclose(perplexity([1.0, 1.0]), 1), "a model that is always right has perplexity 1"
    # One bad guess counts more than one good guess. The mean of the probabilities hides this.
    assert math.isclose(perplexity([0.5, 0.02]), 10), "a good guess and a bad guess"


if __name__ == "__main__":
    check(perplexity)
    print("Your function is right.")
