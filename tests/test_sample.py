"""The embedded corpus keeps the promises of its README."""

from collections import Counter

import pytest

from poet.data.poems import read_corpus
from poet.prosody.judge import judge
from poet.sample.make import SHARES
from poet.text import poem_lines


@pytest.fixture(scope="module")
def poems():
    return read_corpus("sample").poems


def test_forms_are_as_frequent_as_in_the_tang_corpus(poems):
    assert len(poems) >= 4000 and len({poem.text for poem in poems}) == len(poems)
    judgments = [judge(poem.text) for poem in poems]
    forms = Counter(judgment.form for judgment in judgments)
    for form, share in SHARES.items():
        assert forms[form] / len(poems) == pytest.approx(share / sum(SHARES.values()), abs=0.001), (
            form
        )
    faulty = [j for j in judgments if not j.old_style and not j.regulated]
    # They were made before two writings of one word (窗 and 牕) counted as a repeated rhyme word.
    assert len(faulty) == 17
    faults = [verdict for j in faulty for verdict in j.verdicts if verdict.kind == "fault"]
    assert {verdict.rule for verdict in faults} == {"重韻"}
    assert all(verdict.detail.endswith("are one word") for verdict in faults)


def test_no_line_occurs_in_the_tang_corpus(poems, tang):
    known = {line for poem in read_corpus(tang).poems for line in poem_lines(poem.text)}
    assert not [line for poem in poems for line in poem_lines(poem.text) if line in known]
