"""Exercise of chapter 0: draw one character.

    python book/exercises/ch00.py      # tests your function

Write `draw`. The check gives it the random numbers, so it must not make its own.
"""

import random


def draw(candidates: dict[str, float], number: float) -> str:
    """Returns one of the candidates, drawn with its probability.

    Args:
        candidates: Each character with its probability. The probabilities add up to 1. Because of
            rounding, the sum can be a little less.
        number: A random number, at least 0 and below 1. All such numbers are equally likely.
    """
    raise NotImplementedError("write this function")


def check(draw) -> None:
    """Fails if `draw` is wrong."""
    candidates = {"月": 0.5, "雨": 0.3, "風": 0.2}  # moon, rain, wind
    assert draw({"月": 1.0}, 0.7) == "月", "a single candidate is always drawn"
    drawn = {draw(candidates, step / 100) for step in range(100)}
    assert drawn == set(candidates), "each candidate is drawn for some numbers"
    assert draw(candidates, 0.1) == draw(candidates, 0.1), "the same number gives the same draw"
    numbers = random.Random(7)
    draws = [draw(candidates, numbers.random()) for _ in range(10_000)]
    for character, probability in candidates.items():
        share = draws.count(character) / len(draws)
        assert abs(share - probability) < 0.02, f"{character}: {share} instead of {probability}"
    # Rounding can leave a gap: these probabilities add up to a little less than 1.
    tenths = {str(digit): 0.1 for digit in range(10)}
    assert draw(tenths, 1 - 2**-53) == "9", "the largest random number draws a candidate too"


if __name__ == "__main__":
    check(draw)
    print("Your function is right.")
