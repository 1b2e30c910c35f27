"""Rows of every shape that people have become rows of this project."""

import pytest

from poet.data import shapes
from poet.errors import UserError

USER = [{"role": "user", "content": "Hi"}]
ANSWER = [{"role": "assistant", "content": "Ho"}]


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi", "completion": "Ho"},
        {"prompt": USER, "completion": ANSWER},
        {"question": "Hi", "answer": "Ho"},
        {"instruction": "Hi", "input": "", "output": "Ho"},
        {"messages": USER + ANSWER},
        {"messages": USER + ANSWER + USER},  # a question at the end has no answer yet
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, *ANSWER]},
    ],
)
def test_answers_have_a_prompt_and_a_completion(record):
    assert shapes.shape_of(record) == shapes.ANSWERS
    assert shapes.answer_row(record, "row 1") == {"prompt": USER, "completion": ANSWER}


def test_all_messages_before_the_last_answer_are_the_prompt():
    system = [{"role": "system", "content": "Be short."}]
    row = shapes.answer_row({"messages": system + USER + ANSWER + USER + ANSWER}, "row 1")
    assert row == {"prompt": system + USER + ANSWER + USER, "completion": ANSWER}
    assert shapes.text_of(row) == "Be short.\nHi\nHo\nHi\nHo"


def test_the_input_of_an_instruction_follows_it():
    row = shapes.answer_row({"instruction": "Add.", "input": "1 2", "output": "3"}, "row 1")
    assert row["prompt"][0]["content"] == "Add.\n1 2"


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Hi", "chosen": "Ho", "rejected": "No"},
        {"chosen": USER + ANSWER, "rejected": [*USER, {"role": "assistant", "content": "No"}]},
        {"prompt": "Hi", "chosen": ANSWER, "rejected": [{"role": "assistant", "content": "No"}]},
    ],
)
def test_pairs_have_one_prompt(record):
    assert shapes.shape_of(record) == shapes.PAIRS
    assert shapes.pair_row(record, "row 1") == {
        "prompt": USER,
        "chosen": ANSWER,
        "rejected": [{"role": "assistant", "content": "No"}],
    }


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"messages": USER}, "without an answer"),
        ({"prompt": " ", "completion": "Ho"}, "with an empty prompt"),
        ({"prompt": "Hi", "completion": None}, "with an empty completion"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "with a role"),
        ({"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"}, "with equal answers"),
        ({"prompt": "Hi", "chosen": "", "rejected": "Ho"}, "with an empty chosen"),
    ],
)
def test_rows_that_teach_nothing_are_named(record, reason):
    make_row = shapes.pair_row if "chosen" in record else shapes.answer_row
    with pytest.raises(shapes.Unusable, match=reason):
        make_row(record, "row 1")


@pytest.mark.parametrize("value", [3, ["a"], [{"role": "user", "content": 3}]])
def test_a_value_that_is_no_text_is_refused_with_its_place(value):
    with pytest.raises(UserError, match=r"rows\.jsonl, line 7"):
        shapes.answer_row({"prompt": value, "completion": "Ho"}, "rows.jsonl, line 7")


def test_poems_and_documents_have_no_prompt():
    assert shapes.shape_of({"title": "春", "paragraphs": ["一"]}) == shapes.POEMS
    assert shapes.shape_of({"text": "Once upon a time."}) == shapes.POEMS
