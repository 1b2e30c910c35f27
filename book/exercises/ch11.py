"""Exercise of chapter 11: a mask over four characters.

    python book/exercises/ch11.py      # tests your function

Write `steer` with plain Python: dictionaries, sets and `math.log`.
"""

import math


def steer(before: dict[str, float], allowed: set[str]) -> tuple[dict[str, float], float]:
    """Returns the probabilities under a mask, and the cost of the mask in nats.

    Args:
        before: The probability of each character. They add up to one.
        allowed: The characters that keep the form. Some may be missing in `before`.

    Raises:
        ValueError: No allowed character has a probability above zero.
    """
    raise NotImplementedError("write this function")


def check(steer) -> None:
    """Fails if `steer` is wrong."""
    before = {"moon": 0.5, "wind": 0.3, "cloud": 0.1, "rain": 0.1}
    after, cost = steer(before, {"wind", "cloud"})
    assert set(after) == set(before), "all characters keep their place"
    assert after["moon"] == after["rain"] == 0, "a forbidden character"
    assert math.isclose(sum(after.values()), 1), "probabilities add up to one"
    assert math.isclose(after["wind"], 3 * after["cloud"]), "the order of the allowed ones"
    assert math.isclose(cost, -math.log(0.4)), "the cost is -ln of the sum that was left"
    # A mask that forbids nothing changes nothing and costs nothing.
    after, cost = steer(before, set(before))
    assert all(math.isclose(after[name], before[name]) for name in before), "nothing is forbidden"
    assert abs(cost) < 1e-9, "nothing is forbidden"
    assert steer(before, {"wind", "snow"})[0]["wind"] == 1, "an allowed one that is missing"
    for allowed in (set(), {"snow"}):
        try:
            steer(before, allowed)
        except ValueError:
            continue
        raise AssertionError("steer must raise a ValueError if no allowed character is possible")


if __name__ == "__main__":
    check(steer)
    print("Your function is right.")
