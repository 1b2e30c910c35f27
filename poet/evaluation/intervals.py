"""Computes shares and ratios over poems, each with its 95 % interval.

It knows numbers. It does not know poems or models.
"""

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

_Z = 1.96  # standard errors on each side of a 95 % interval


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    interval: tuple[float, float]


def wilson(rate: float, n: int) -> tuple[float, float]:
    """Returns the 95 % interval of a rate among n observations (Wilson, JASA 22, 1927)."""
    scale = 1 + _Z * _Z / n
    center = rate + _Z * _Z / (2 * n)
    half = _Z * math.sqrt(rate * (1 - rate) / n + _Z * _Z / (4 * n * n))
    return max(0.0, (center - half) / scale), min(1.0, (center + half) / scale)


def share(flags: Iterable[bool]) -> Estimate:
    """Returns the share of true flags, with Wilson's interval; 0 when there is no flag."""
    values = list(flags)
    n = max(1, len(values))
    rate = sum(values) / n
    return Estimate(rate, wilson(rate, n))


def ratio(
    parts: Sequence[tuple[float, float]],
    numerator: float | None = None,
    lower: float = -math.inf,
    upper: float = math.inf,
) -> Estimate:
    """Returns a ratio of sums over poems, with the interval of Tukey's jackknife.

    The jackknife leaves out one poem at a time. The characters of a poem depend on each other;
    the poems do not.

    Args:
        parts: (numerator, denominator) of each poem.
        numerator: the whole numerator, if it differs from the sum of the parts.
        lower, upper: the limits of the interval.
    """
    top = sum(part for part, _ in parts) if numerator is None else numerator
    bottom = sum(size for _, size in parts)
    value = top / bottom if bottom else 0.0
    left_out = [(top - part) / (bottom - size) for part, size in parts if bottom > size]
    n = len(left_out)
    mean = sum(left_out) / max(1, n)
    squares = sum((other - mean) ** 2 for other in left_out)
    half = _Z * math.sqrt((n - 1) / n * squares) if n else 0.0
    if half == 0 and 0 <= value <= 1:
        # All poems give the same ratio, so the jackknife's interval has no width. Wilson's has one.
        return Estimate(value, wilson(value, max(1, n)))
    return Estimate(value, (max(lower, value - half), min(upper, value + half)))


def fraction(parts: Sequence[tuple[float, float]], numerator: float | None = None) -> Estimate:
    """Returns `ratio` for a part of a whole: its interval stays between 0 and 1."""
    return ratio(parts, numerator, lower=0, upper=1)


def distinct(poems: Sequence[Sequence[Hashable]]) -> Estimate:
    """Returns the number of different items divided by the number of all items.

    When the jackknife leaves out a poem, the numerator loses the items that only this poem has.
    """
    poems_with = Counter(itertools.chain.from_iterable(set(poem) for poem in poems))
    parts = [(sum(poems_with[item] == 1 for item in set(poem)), len(poem)) for poem in poems]
    return fraction(parts, numerator=len(poems_with))


def area_under_curve(positives: Sequence[float], negatives: Sequence[float]) -> Estimate:
    """Returns how often a positive is above a negative; a tie counts half, and 0.5 is chance.

    The interval is Newcombe's fifth method (Statistics in Medicine 25, 2006). Like Wilson's
    interval, it does not shrink to one point if the value is 0 or 1.
    """
    ranked = sorted(negatives)
    n = len(positives), len(negatives)
    below = sum(bisect.bisect_left(ranked, x) + bisect.bisect_right(ranked, x) for x in positives)
    area = below / (2 * n[0] * n[1])
    k = sum(n) / 2 - 1

    def is_inside(t: float) -> bool:
        variance = t * (1 - t) * (1 + k * (1 - t) / (2 - t) + k * t / (1 + t)) / (n[0] * n[1])
        return abs(t - area) <= _Z * math.sqrt(variance)

    def bound(inside: float, outside: float) -> float:
        for _ in range(40):
            middle = (inside + outside) / 2
            if is_inside(middle):
                inside = middle
            else:
                outside = middle
        return inside

    return Estimate(area, (bound(area, 0.0), bound(area, 1.0)))
