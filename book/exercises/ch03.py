"""Exercise of chapter 3: gradient descent with momentum.

    python book/exercises/ch03.py      # tests your function

Write `descend`. Do not use the optimizers of torch.
"""

from collections.abc import Callable


def descend(
    slope: Callable[[float], float], start: float, rate: float, beta: float, steps: int
) -> float:
    """Returns the weight after some steps of gradient descent with momentum.

    Args:
        slope: A function that takes a weight, and returns the slope of the loss there.
        start: The weight before the first step.
        rate: The learning rate.
        beta: How much of the last velocity is kept. With 0 there is no momentum.
    """
    raise NotImplementedError("write this function")


def check(descend) -> None:
    """Fails if `descend` is wrong."""
    import torch

    def bowl(weight: float) -> float:  # the slope of the loss (weight - 3) ** 2
        return 2 * (weight - 3)

    assert descend(bowl, 5.0, 0.1, 0.0, 0) == 5.0, "no step changes nothing"
    assert abs(descend(bowl, 5.0, 0.1, 0.0, 1) - 4.6) < 1e-6, "one step: 5 - 0.1 * 4"
    for start, rate, beta, steps in ((5.0, 0.1, 0.9, 2), (0.0, 0.02, 0.9, 30), (4.0, 0.4, 0.5, 7)):
        weight = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=rate, momentum=beta)
        for _ in range(steps):
            optimizer.zero_grad()
            ((weight - 3) ** 2).backward()
            optimizer.step()
        mine = descend(bowl, start, rate, beta, steps)
        assert abs(mine - weight.item()) < 1e-6, f"{mine}, but torch has {weight.item()}"


if __name__ == "__main__":
    check(descend)
    print("Your function is right.")
