"""Decides whether a poem is more like one author's poems than like the poems of others.

It knows pairs of characters. It does not know models.
"""

import math
import random
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise

from poet.alignment.author import AuthorSplit
from poet.text import poem_lines


class AuthorClassifier:
    """Attributes poems to an author or to others: naive Bayes over pairs of characters.

    Each pair of neighbouring characters has a score: the log of how much more often the author
    writes it. Pairs that neither side writes score 0. The score of a poem is the mean score of its
    pairs.

    The poem is attributed to the author if its score is above a threshold. The threshold is the
    95th percentile of scores of other authors' poems, but at least 0. These poems did not train
    the classifier.

    Args:
        split: Poems of the author, and of others. Both train the classifier, with the same number
            of poems.
        calibration_poems: Number of other authors' poems for the percentile.
    """

    def __init__(self, split: AuthorSplit, seed: int, calibration_poems: int = 2000):
        count = len(split.training)
        sampled = random.Random(seed).sample(
            split.others_training, min(len(split.others_training), count + calibration_poems)
        )
        author_counts = _count_pairs(poem.text for poem in split.training)
        others_counts = _count_pairs(poem.text for poem in sampled[:count])
        known = author_counts.keys() | others_counts.keys()
        # One is added to each count. So a pair that only one side writes has a finite score.
        author_total = author_counts.total() + len(known)
        others_total = others_counts.total() + len(known)
        self.pair_scores = {
            pair: math.log((author_counts[pair] + 1) / (others_counts[pair] + 1))
            - math.log(author_total / others_total)
            for pair in known
        }  # in nats
        others_scores = sorted(self._score(poem.text) for poem in sampled[count:])
        self.threshold = 0.0
        if others_scores:
            self.threshold = max(0.0, others_scores[int(0.95 * len(others_scores))])

    def is_by_author(self, poem: str) -> bool:
        """Returns whether the poem is attributed to the author."""
        return self._score(poem) > self.threshold

    def _score(self, poem: str) -> float:
        """Returns the score in nats per pair."""
        scores = [self.pair_scores.get(pair, 0.0) for pair in _pairs(poem)]
        return sum(scores) / max(1, len(scores))


def _count_pairs(poems: Iterator[str]) -> Counter[tuple[str, str]]:
    return Counter(chain.from_iterable(map(_pairs, poems)))


def _pairs(poem: str) -> Iterator[tuple[str, str]]:
    return chain.from_iterable(pairwise(line) for line in poem_lines(poem))
