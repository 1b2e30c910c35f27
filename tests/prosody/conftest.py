"""The Tang poems as the tutorial's recipe splits them, for tests of the judge and of couplets."""

import pytest

from poet.data.poems import read_corpus, split_poems


@pytest.fixture(scope="session")
def tang_split(tang):
    """The poems that the tutorial's filter keeps, in their three parts."""
    corpus = read_corpus(tang, min_couplets=2, equal_couplets=True, forbidden="□(（")
    return split_poems(corpus.poems, seed=2024, ratio=(5, 3, 2), copies_together=False)


@pytest.fixture(scope="session")
def tang_poems(tang_split) -> list[str]:
    """The texts of the held-out part of the fine-tuning poems."""
    return [poem.text for poem in tang_split.sft[int(0.9 * len(tang_split.sft)) :]]
