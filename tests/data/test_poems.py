"""Cleaning and splitting of poems."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.data.poems import Poem, read_corpus, split_poems
from poet.errors import UserError

RULES = {"min_couplets": 2, "equal_couplets": True, "forbidden": "□(（"}
POEM = Poem("春", ("一二三四五，六七八九十。", "甲乙丙丁戊，己庚辛壬癸。"), "無名")
RECORD = {"title": POEM.title, "author": POEM.author, "paragraphs": list(POEM.couplets)}


def write(path, records) -> str:
    path.write_text(json.dumps(records), encoding="utf-8")
    return str(path)


# -------------------------------------------------------------------------------------- cleaning


def test_each_poem_is_dropped_for_one_reason(tmp_path):
    line = POEM.couplets[0]
    source = write(
        tmp_path / "a.json",
        [
            RECORD,
            {**RECORD, "paragraphs": []},
            {**RECORD, "paragraphs": None},
            {**RECORD, "paragraphs": [line]},
            {**RECORD, "paragraphs": [line, line + "□"]},
            {**RECORD, "title": "春（一）"},
            {**RECORD, "title": "春(一)"},
            {**RECORD, "paragraphs": [line, line.replace("一", "□")]},
        ],
    )
    corpus = read_corpus(source, **RULES)
    assert corpus.poems == [POEM]
    assert corpus.read == 8
    assert corpus.dropped == {
        "without couplets": 2,
        "with fewer than 2 couplets": 1,
        "with couplets of different lengths": 1,
        "with （": 1,
        "with (": 1,
        "with □": 1,
    }


def test_without_rules_nothing_is_dropped(tmp_path):
    source = write(
        tmp_path / "a.json",
        [{**RECORD, "paragraphs": ["長短句（注）。"]}, {**RECORD, "paragraphs": ["□。", "句。。"]}],
    )
    assert read_corpus(source).dropped == {}


def test_no_usable_poem_is_an_error_with_the_reasons(tmp_path):
    with pytest.raises(
        UserError,
        match="has no usable poem. Dropped: 2 with fewer than 9 couplets. Try --min_couplets 1 ",
    ):
        read_corpus(write(tmp_path / "a.json", [RECORD, RECORD]), min_couplets=9)


# ----------------------------------------------------------------------------------------- split


def poems_of(texts: list[str]) -> list[Poem]:
    return [Poem(str(number), (text,)) for number, text in enumerate(texts)]


def test_the_split_equals_the_tutorials():
    poems = poems_of([str(number) for number in range(997)])
    shuffled = list(poems)
    state = random.getstate()
    random.seed(2024)
    random.shuffle(shuffled)
    choices = [random.choice(shuffled) for _ in range(5)]
    random.setstate(state)
    split = split_poems(poems, 2024, [5, 3, 2], copies_together=False)
    assert split.parts == (
        shuffled[:498],
        shuffled[498 : int(997 * 0.8)],
        shuffled[int(997 * 0.8) :],
    )
    assert [split.rng.choice(shuffled) for _ in range(5)] == choices


TEXTS = st.lists(st.sampled_from("一二三四五六七八九十甲乙丙丁"), max_size=40)
RATIO = st.lists(st.integers(1, 9), min_size=3, max_size=3)


@given(TEXTS, st.integers(0, 9), RATIO, st.booleans())
def test_a_split_has_every_poem_once(texts, seed, ratio, copies_together):
    poems = poems_of(texts)
    parts = split_poems(poems, seed, ratio, copies_together).parts
    assert Counter(poem for part in parts for poem in part) == Counter(poems)


@given(TEXTS, st.integers(0, 9), RATIO)
def test_copies_stay_in_one_part(texts, seed, ratio):
    split = split_poems(poems_of(texts), seed, ratio, copies_together=True)
    assert split.copies()["across_parts"] == 0
    assert split.copies()["poems"] == sum(count for count in Counter(texts).values() if count > 1)


def test_copies_may_differ_in_their_marks():
    split = split_poems(
        poems_of(["甲乙，丙丁。", "甲乙。丙丁！", "戊，己。"]), 0, [1, 1, 1], copies_together=False
    )
    assert split.copies() == {"poems": 2, "across_parts": 2}
