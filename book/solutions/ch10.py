"""Solution of the exercise of chapter 10."""

from collections import defaultdict
from statistics import mean


def above_its_form(rewards: list[float], lines: list[int]) -> list[float]:
    """Returns each reward minus the mean reward of the poems with as many lines."""
    of_form = defaultdict(list)
    for reward, form in zip(rewards, lines, strict=True):
        of_form[form].append(reward)
    return [reward - mean(of_form[form]) for reward, form in zip(rewards, lines, strict=True)]
