"""Scores how parallel a couplet is (對仗): whether characters at the same place match each other.

It knows couplets and counts. It does not know tones, rhyme or models.

The two middle couplets of a 律詩 (eight lines) must be parallel (Wang Li 王力, 詩詞格律, 2.4). For
example, 山 (mountain) matches 水 (water). The score learns from the middle couplets of poems which
characters match. It is the pointwise mutual information of two characters at the same place (Church
and Hanks 1990). It is smoothed, because a small corpus has most pairs once or never.
"""

from collections import Counter
from collections.abc import Iterable
from math import log

from poet.text import poem_lines

Couplet = tuple[str, str]


def middle_couplets(text: str) -> list[Couplet]:
    """Returns lines 3 and 4, and lines 5 and 6, of eight lines of one length; else nothing."""
    lines = poem_lines(text)
    if len(lines) != 8 or len(set(map(len, lines))) > 1:
        return []
    return [(lines[2], lines[3]), (lines[4], lines[5])]


class Parallelism:
    """Learns from poems which characters match, and scores couplets.

    Args:
        poems: Texts. Only poems of eight lines count.
        smoothing: Each pair starts with a count, although no poem was read yet. `smoothing` is
            this start count, divided by the count that chance predicts. The value 2 separates real
            couplets from shuffled ones best. With 0.5 or 5, the area under the curve is lower by up
            to 0.002.
    """

    def __init__(self, poems: Iterable[str], smoothing: float = 2.0) -> None:
        self.smoothing = smoothing
        self.pair_counts: Counter[Couplet] = Counter()
        self.counts: Counter[str] = Counter()
        for text in poems:
            for first, second in middle_couplets(text):
                for pair in zip(first, second, strict=True):
                    self.pair_counts.update((pair, pair[::-1]))
                    self.counts.update(pair)
        self.total = self.counts.total()

    def score(self, first: str, second: str) -> float:
        """Returns the mean of log P(a, b) / P(a) P(b) over the places, in nats. Chance gives 0.

        In Tang 律詩 that the score did not learn from, middle couplets have 0.85 on average, first
        couplets 0.04 and shuffled lines -0.2.

        Raises:
            ValueError: The lines are empty or differ in length.
        """
        if len(first) != len(second) or not first:
            raise ValueError(
                "the lines of a couplet must have the same length, not "
                f"{len(first)} and {len(second)} characters"
            )
        return sum(map(self._information, first, second)) / len(first)

    def _information(self, one: str, other: str) -> float:
        """Returns the smoothed pointwise mutual information, 0 for an unknown character."""
        expected = self.counts[one] * self.counts[other] / self.total if self.total else 0
        if not expected:
            return 0.0
        ratio = self.pair_counts[one, other] / expected
        return log((ratio + self.smoothing) / (1 + self.smoothing))
