"""Rows of the three stages."""

import random

from hypothesis import given
from hypothesis import strategies as st

from poet.data.poems import Poem
from poet.data.rows import (
    POEM_SEPARATOR,
    content,
    dpo_row,
    hold_out,
    pair_poems,
    pretraining_rows,
    pretraining_text,
    sft_row,
    split_title,
    training_texts,
)

SPRING = Poem("春", ("一二三四五，六七八九十。", "甲乙丙丁戊，己庚辛壬癸。"))
SUMMER = Poem("夏", ("天地玄黃宇宙洪，日月盈昃辰宿列。",))


def is_short(poem: Poem) -> bool:
    return len(poem.text) < 20


def test_pretraining_text_has_titles_and_blank_lines():
    text = pretraining_text([SPRING, SUMMER])
    assert text == f"春\n{SPRING.text}\n\n夏\n{SUMMER.text}"
    assert [split_title(poem) for poem in text.split(POEM_SEPARATOR)] == [
        ("春", SPRING.text),
        ("夏", SUMMER.text),
    ]


def test_an_instruction_becomes_a_system_message():
    row = sft_row(SPRING, "寫")
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert (content(row["prompt"]), content(row["completion"])) == ("春", SPRING.text)


def test_both_poems_of_a_pair_answer_the_preferred_title():
    row = dpo_row((SPRING, SUMMER))
    assert [content(row[name]) for name in ("prompt", "chosen", "rejected")] == [
        "春",
        SPRING.text,
        SUMMER.text,
    ]


def test_every_preferred_poem_gets_one_other():
    assert pair_poems([SUMMER] * 3, [SPRING], random.Random(0)) == [(SUMMER, SPRING)] * 3
    assert pair_poems([SUMMER], [], random.Random(0)) == []


def test_training_texts_have_no_titles():
    texts = training_texts([{"text": f"春\n{SPRING.text}"}], [sft_row(SUMMER)])
    assert list(texts) == [SPRING.text, SUMMER.text]


TEXT = st.text("春\n夏", min_size=2)
SHARE = st.floats(0.01, 0.99)


@given(TEXT, SHARE)
def test_pretraining_rows_restore_the_text(text, share):
    train, test = (
        POEM_SEPARATOR.join(row["text"] for row in half) for half in pretraining_rows(text, share)
    )
    assert train + test == text and train and test


@given(st.lists(st.integers(), min_size=2), SHARE)
def test_something_is_always_held_out(items, share):
    train, test = hold_out(items, share)
    assert train and test and train + test == items
