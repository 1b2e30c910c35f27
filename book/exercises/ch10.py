"""Exercise of chapter 10: a baseline for each form.

    python book/exercises/ch10.py      # tests your function

Short poems break fewer rules than long ones. So compare each poem only with the poems that have the
same number of lines. Write `above_its_form`.
"""

import math


def above_its_form(rewards: list[float], lines: list[int]) -> list[float]:
    """Returns each reward minus the mean reward of the poems with as many lines.

    Args:
        rewards: One per poem.
        lines: The number of lines of each poem.
    """
    raise NotImplementedError("write this function")


def check(above_its_form) -> None:
    """Fails if `above_its_form` is wrong."""
    # Two poems of four lines, and two of eight lines.
    found = above_its_form([1.0, 0.6, 0.5, 0.1], [4, 4, 8, 8])
    expected = [0.2, -0.2, 0.2, -0.2]
    assert len(found) == 4, "one number per poem"
    assert all(map(math.isclose, found, expected)), "each form has its own mean"
    # The order of the poems does not matter.
    found = above_its_form([0.5, 1.0, 0.1, 0.6], [8, 4, 8, 4])
    assert all(map(math.isclose, found, [0.2, 0.2, -0.2, -0.2])), "keep the order of the poems"
    assert above_its_form([0.9], [4]) == [0.0], "a poem alone in its form teaches nothing"


if __name__ == "__main__":
    check(above_its_form)
    print("Your function is right.")
