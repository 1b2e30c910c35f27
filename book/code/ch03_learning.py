"""Learns one weight by following the slope of the loss. Then compares optimizers on many weights.

python book/code/ch03_learning.py
"""

import math
from collections.abc import Callable, Iterable

import lesson
import torch
from ch02_next_character import PairNetwork, network_loss
from torch import Tensor, nn
from torch.nn import functional as F

from poet import errors

RATES = {"too small": 0.1, "good": 3.0, "too large": 100.0}  # for one weight
OPTIMIZERS: dict[str, tuple[Callable, list[float]]] = {
    "SGD": (torch.optim.SGD, [0.3, 3, 30]),
    "momentum": (lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9), [0.03, 0.3, 30]),
    "Adam": (torch.optim.Adam, [0.0001, 0.01, 1]),
}


# ------------------------------------------------------------------------------------- one weight


def one_weight_loss(weight: Tensor, share: float) -> Tensor:
    """Returns the loss of one weight, which says how likely 風 is after 春.

    Args:
        weight: Any number, of shape (). The sigmoid makes it a probability p.
        share: How often 風 really follows 春, from 0 to 1.
    """
    log_p, log_rest = F.logsigmoid(weight), F.logsigmoid(-weight)  # ln p and ln(1 - p)
    return -(share * log_p + (1 - share) * log_rest)


def slope_by_hand(weight: Tensor, share: float) -> Tensor:
    """Returns the slope of `one_weight_loss`, worked out on paper."""
    return torch.sigmoid(weight) - share


def slope_by_autograd(weight: Tensor, share: float) -> Tensor:
    """Returns the slope of `one_weight_loss`, worked out by PyTorch."""
    weight = weight.detach().requires_grad_()
    one_weight_loss(weight, share).backward()
    return weight.grad


def descend(share: float, rate: float, steps: int) -> list[float]:
    """Returns the weight after each step of gradient descent, which starts at 0."""
    weight, path = torch.zeros(()), [0.0]
    for _ in range(steps):
        weight = weight - rate * slope_by_autograd(weight, share)
        path.append(weight.item())
    return path


# ----------------------------------------------------------------------------------- many weights


def batch_slope(network: nn.Module, ids: Tensor, places: Tensor) -> Tensor:
    """Returns the slopes of all weights on the pairs at `places`, of shape (weights,)."""
    loss = F.cross_entropy(network(ids[places]), ids[places + 1])
    slopes = torch.autograd.grad(loss, list(network.parameters()))
    return torch.cat([slope.flatten() for slope in slopes])


def adam_step(weight: Tensor, slope: Tensor, state: dict, rate: float) -> None:
    """Changes `weight` by one step of Adam. All tensors have the shape of `weight`."""
    state["step"] = t = state.get("step", 0) + 1
    state["mean"] = 0.9 * state.get("mean", 0) + 0.1 * slope
    state["square"] = 0.999 * state.get("square", 0) + 0.001 * slope**2
    mean = state["mean"] / (1 - 0.9**t)  # both averages began at zero: make up for it
    square = state["square"] / (1 - 0.999**t)
    weight -= rate * mean / (square.sqrt() + 1e-8)


def check_adam() -> None:
    """Compares `adam_step` with the optimizer of PyTorch, on a loss of two weights."""
    mine, state = torch.tensor([1.0, -2.0]), {}
    theirs = mine.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.1)
    for _ in range(5):
        adam_step(mine, slope=2 * mine, state=state, rate=0.1)
        optimizer.zero_grad()
        theirs.square().sum().backward()  # its slope is 2 * theirs
        optimizer.step()
        assert torch.allclose(mine, theirs, atol=1e-6)


def train(network: nn.Module, optimizer: torch.optim.Optimizer, ids: Tensor, steps: int) -> None:
    """Lowers the loss of the network on mini-batches of 256 pairs."""
    for _ in range(steps):
        places = torch.randint(len(ids) - 1, (256,))
        loss = F.cross_entropy(network(ids[places]), ids[places + 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def compare(make: Callable, rates: Iterable[float], ids: Tensor, test: Tensor, chosen) -> list:
    """Returns the held-out loss of one optimizer for each learning rate."""
    losses = []
    for rate in rates:
        torch.manual_seed(chosen.seed)  # the same start and the same mini-batches for all
        network = PairNetwork(chosen.vocabulary)
        train(network, make(network.parameters(), lr=rate), ids, chosen.steps)
        losses.append(network_loss(network, test))
    return losses


def main() -> None:
    chosen = lesson.options(__doc__, steps=200, figure=0)
    tokenizer, ids, test = lesson.token_ids(chosen.run)
    test, chosen.vocabulary = test[:5000], len(tokenizer)

    spring, wind = tokenizer.convert_tokens_to_ids(["春", "風"])
    after = ids[1:][ids[:-1] == spring]  # (pairs,): every token that follows 春
    followed, pairs = int((after == wind).sum()), len(after)
    share = followed / pairs
    lesson.part("slope")
    print(f"春 stands before {pairs:,} tokens, and {followed} of them are 風: {share:.4f}")
    print("weight   p       loss    slope by hand   by autograd   by a small step")
    for value in (-4.0, -2.0, 0.0, 2.0):
        weight = torch.tensor(value)
        hand, auto = slope_by_hand(weight, share), slope_by_autograd(weight, share)
        near, far = (one_weight_loss(weight.double() + d, share) for d in (-0.001, 0.001))
        assert torch.allclose(hand, auto, atol=1e-6)
        print(
            f"{value:5.1f}  {weight.sigmoid():.4f}  {one_weight_loss(weight, share):.4f} "
            f"{hand:13.4f} {auto:13.4f} {(far - near) / 0.002:16.4f}"
        )

    lesson.part("rates")
    paths = {name: descend(share, rate, 20) for name, rate in RATES.items()}
    print("probability of 風 after 春   " + "  ".join(f"{n} ({r:g})" for n, r in RATES.items()))
    for step in (0, 1, 2, 3, 5, 10, 20):
        shown = [torch.tensor(path[step]).sigmoid().item() for path in paths.values()]
        print(f"step {step:2}                " + "".join(f"{p:15.4f}" for p in shown))
    small, good, _ = (torch.tensor(path[-1]).sigmoid() for path in paths.values())

    lesson.part("noise")
    torch.manual_seed(chosen.seed)
    network = PairNetwork(chosen.vocabulary)
    everywhere = torch.arange(len(ids) - 1).split(2500)
    true = sum(len(p) * batch_slope(network, ids, p) for p in everywhere) / (len(ids) - 1)
    noise = {}
    print("pairs in the mini-batch   error of its slope")
    for size in (16, 64, 256, 1024):
        batches = [torch.randint(len(ids) - 1, (size,)) for _ in range(8)]
        misses = [batch_slope(network, ids, b) - true for b in batches]  # 8 times (weights,)
        noise[f"noise_{size}"] = error = torch.stack(misses).norm(dim=1).mean() / true.norm()
        print(f"{size:23} {error:20.2f}")

    check_adam()
    losses = {n: compare(m, rates, ids, test, chosen) for n, (m, rates) in OPTIMIZERS.items()}
    lesson.part("optimizers")
    print("held-out loss   small rate       good rate        large rate")
    for name, row in losses.items():
        rates = OPTIMIZERS[name][1]
        print(f"{name:13}" + "".join(f"{r:8g}: {x:7.2f}" for r, x in zip(rates, row, strict=True)))

    frequency = (torch.bincount(ids, minlength=chosen.vocabulary) + 1).log().expand(5000, -1)
    lesson.keep(
        pairs=pairs,
        followed=followed,
        share=share,
        lowest=one_weight_loss(torch.tensor(math.log(share / (1 - share))), share),
        limit=2 / (share * (1 - share)),
        small=small,
        good=good,
        parameters=len(true),
        **noise,
        idle=1 - len(ids[batches[0]].unique()) / chosen.vocabulary,
        frequencies=F.cross_entropy(frequency[: len(test)], test),
        sgd=losses["SGD"][1],
        momentum=losses["momentum"][1],
        adam=losses["Adam"][1],
    )
    if chosen.figure:
        lesson.write_data(__file__, PAIRS={"followed": followed, "pairs": pairs})
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
