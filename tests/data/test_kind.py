"""The kind of the texts is named in words that fit."""

import pytest

from poet.data.kind import Kind, has_titles, kind_of
from poet.training.stages import STAGES


def summary(shape: str, code: str | None, name: str | None, verse: bool = False) -> dict:
    language = {"code": code, "name": name, "script": "Latin"}
    return {"shapes": {"pretrain": shape, "sft": shape}, "language": language, "verse": verse}


@pytest.mark.parametrize(
    ("found", "phrase"),
    [
        ({}, "poems in classical Chinese"),
        (summary("poems", "zh", "Chinese", verse=True), "poems in classical Chinese"),
        (summary("poems", "zh", "Chinese"), "poems in Chinese"),
        (summary("poems", "en", "English"), "poems in English"),
        (summary("documents", "de", "German"), "texts in German"),
        (summary("answers", "en", "English"), "answers to questions in English"),
        (summary("pairs", None, None), "answers to prompts"),
        (summary("documents", None, None), "texts"),
    ],
)
def test_texts_have_a_name(found, phrase):
    assert kind_of(found).full_name == phrase


def test_pretraining_on_answers_reads_texts():
    assert kind_of(summary("answers", "en", "English"), "pretrain").full_name == "texts in English"


@pytest.mark.parametrize("shape", ["poems", "documents", "answers", "pairs"])
def test_only_texts_of_poems_begin_with_a_title(shape):
    assert has_titles(summary(shape, None, None)) is (shape == "poems")
    assert has_titles({})  # data of an old version: Chinese poems


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("shape", ["poems", "documents", "answers", "pairs"])
def test_every_stage_is_told_of_every_shape(stage, shape):
    told = STAGES[stage].told_of(Kind(shape, "en", "English", "Latin", verse=False))
    text = f"{told.heading} {told.card} {told.explained}"
    assert "{" not in text and "Chinese" not in text
    if shape != "poems" and stage in ("pretrain", "sft", "dpo"):
        assert "poem" not in text and "title" not in text


def test_the_cards_of_chinese_poems_say_what_they_said():
    card = STAGES["sft"].told_of(Kind()).card
    assert card == (
        "This model writes poems in classical Chinese for titles. It was first trained to continue "
        "poems. It was then fine-tuned on titles and their poems, and only the characters of the "
        "poems counted in the loss."
    )
    heading = STAGES["sft"].told_of(Kind()).heading
    assert heading == "Fine-tuning: the model learns to answer a title with a poem"
