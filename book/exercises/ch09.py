"""Exercise of chapter 9: how strongly a pair pulls.

    python book/exercises/ch09.py      # tests your function

Write `pull`. The loss is -ln(sigmoid(margin)), and the margin contains beta times the
log-probability of the chosen poem. Use `math.exp`, and no function of torch.
"""

import math


def pull(margin: float, beta: float) -> float:
    """Returns how much the loss falls per nat of log-probability that the chosen poem gains.

    Args:
        margin: Reward of the chosen poem minus reward of the rejected one.
        beta: The factor in the reward.
    """
    raise NotImplementedError("write this function")


def check(pull) -> None:
    """Fails if `pull` is wrong."""

    def loss(margin: float) -> float:
        return math.log(1 + math.exp(-margin))  # the same as -ln(sigmoid(margin))

    assert math.isclose(pull(0, 0.1), 0.05), "at the start, sigmoid(margin) is 0.5"
    assert pull(8, 0.1) < 0.001 * pull(-8, 0.1), "a pair in the right order pulls far less"
    # The slope, from two values of the loss that lie close together.
    for margin, beta in ((-3, 0.1), (0.5, 0.1), (2, 0.5)):
        nats = 1e-6
        slope = (loss(margin) - loss(margin + beta * nats)) / nats
        assert math.isclose(pull(margin, beta), slope, rel_tol=1e-4), f"margin {margin}"


if __name__ == "__main__":
    check(pull)
    print("Your function is right.")
