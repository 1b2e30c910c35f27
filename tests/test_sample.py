"""The embedded corpus is what its README says: the forms of the poets, rules kept, nothing twice, nothing of the Tang corpus."""

from collections import Counter

import pytest

from poet.data.poems import read_corpus
from poet.prosody.judge import judge
from poet.sample.make import SHARES
from poet.text import poem_lines


@pytest.fixture(scope="module")
def poems():
    return read_corpus("sample").poems


def test_the_forms_are_as_frequent_as_the_poets(poems):
    assert len(poems) >= 4000 and len({poem.text for poem in poems}) == len(poems)
    judged = [judge(poem.text) for poem in poems]
    forms = Counter(each.form for each in judged)
    for form, share in SHARES.items():
        assert forms[form] / len(poems) == pytest.approx(share / sum(SHARES.values()), abs=0.001), (
            form
        )
    assert all(each.regulated for each in judged if not each.old_style)


def test_no_line_stands_in_the_tang_corpus(poems, tang):
    known = {line for poem in read_corpus(tang).poems for line in poem_lines(poem.text)}
    assert not [line for poem in poems for line in poem_lines(poem.text) if line in known]
