"""Texts that are no Chinese verse: English poems, answers and prose, with random models."""

import importlib.util
import json
import random

import pytest
from helpers import ROOT, random_model

from poet.data.build import build_datasets
from poet.data.kind import kind_of
from poet.data.options import DataOptions
from poet.data.run_data import load_summary, make_tokenizer, sample_title
from poet.evaluation import held_out
from poet.evaluation.checkpoints import evaluate_run
from poet.generation.load import generation_defaults
from poet.training.card import write_card
from poet_tokenizer import save_tokenizer

OF_VERSE = {
    "well_formed", "five_character", "rhymed", "regulated", "forms", "parallelism",
    "tone_violations_per_line", "unknown_characters", "theme_words", "poem_loss_five_character",
}  # fmt: skip
GENERAL = {
    "loss", "poem_loss", "title_gain", "ends_by_itself", "repeated_lines", "copied_lines",
    "distinct_1", "distinct_2",
}  # fmt: skip


def texts(kind: str, count: int = 60) -> list[dict]:
    """Returns rows of docs/make_texts.py, or German prose."""
    if kind == "prose":
        draw = random.Random(0)
        words = "Baum Hund Fluss Berg Vogel Stein".split()
        return [
            {"text": "Der {} ist nicht das {} und die {}.".format(*draw.choices(words, k=3))}
            for _ in range(count)
        ]
    spec = importlib.util.spec_from_file_location("make_texts", ROOT / "docs" / "make_texts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.records(kind, count))


@pytest.fixture
def make_run(tmp_path):
    """Makes a run with a random model for each stage that has rows. Returns its folder."""

    def make(rows: list[dict], positions: int = 256):
        corpus, run = tmp_path / "texts.jsonl", tmp_path / "run"
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        corpus.write_text("\n".join(lines), encoding="utf-8")
        options = {"min_couplets": 1, "equal_couplets": False, "forbidden": ""}
        build_datasets(DataOptions(corpus=str(corpus), preference="auto", **options), run)
        tokenizer = make_tokenizer(run, positions)
        summary = load_summary(run)
        for stage in summary["shapes"]:
            model = random_model(tokenizer, positions)
            model.generation_config = generation_defaults(tokenizer, positions)
            model.save_pretrained(run / stage)
            save_tokenizer(tokenizer, run / stage)
            (run / stage / "_arguments.json").write_text(json.dumps({"stage": stage}))
            (run / stage / "trainer_state.json").write_text(
                json.dumps({"log_history": [], "max_steps": 1, "global_step": 1})
            )
            kind = kind_of(summary, stage)
            write_card(run / stage, [], {"stage": stage}, kind, sample_title(run))
        return run

    return make


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("couplets", "This model writes poems in English for titles."),
        ("questions", "This model writes answers to questions in English."),
        ("pairs", "This model writes answers to prompts in English."),
    ],
)
def test_texts_with_prompts_have_the_general_measures(kind, sentence, make_run):
    run = make_run(texts(kind))
    rows = evaluate_run(run, titles=4)
    assert rows["sft"].measures().keys() >= GENERAL
    assert not rows["sft"].measures().keys() & OF_VERSE
    assert rows["poets"].distinct_1 is not None and rows["poets"].ends_by_itself is None
    card = (run / "sft" / "README.md").read_text(encoding="utf-8")
    assert sentence in card and "language: en" in card and "hinese" not in card
    assert card.count(sample_title(run)) == 2  # in the code and for the widget


def test_prose_without_titles_is_continued(make_run):
    run = make_run(texts("prose"))
    rows = evaluate_run(run, titles=3)
    assert rows.keys() == {"pretrain", "poets"}
    rates = {"repeated_lines", "copied_lines", "distinct_1", "distinct_2"}
    assert rows["poets"].measures().keys() >= rates
    assert rows["pretrain"].measures().keys() >= {"loss", "perplexity", *rates}
    assert not rows["pretrain"].measures().keys() & {*OF_VERSE, "poem_loss", "ends_by_itself"}
    card = (run / "pretrain" / "README.md").read_text(encoding="utf-8")
    assert "This model continues texts in German, one" in card and "language: de" in card


def test_a_whole_conversation_is_the_prompt_and_may_be_long(make_run):
    def row(number: int) -> dict:
        talk = [("system", "Be brief."), ("user", "x" * 50), ("assistant", "Yes?")]
        talk += [("user", f"Number {number}, and why?"), ("assistant", f"It is {number}.")]
        return {"messages": [{"role": role, "content": text} for role, text in talk]}

    run = make_run([row(number) for number in range(30)])
    prompt = held_out.load_from_run(run).answers[0].prompt
    assert [message["role"] for message in prompt] == ["system", "user", "assistant", "user"]
    rows = evaluate_run(run, titles=3)
    assert rows["sft"].poems == 3 and rows["sft"].leaked_poems == 0


def test_an_answer_leaks_only_together_with_its_prompt(make_run):
    rows = [{"prompt": f"Is {n} a number?", "completion": "Yes, it is one."} for n in range(20)]
    # Every answer is known from training, and no prompt is: copies are held out together.
    assert evaluate_run(make_run([*rows, *rows]), titles=2)["sft"].leaked_poems == 0


def test_the_card_of_unknown_texts_names_no_language(tmp_path):
    summary = {"shapes": {"pretrain": "documents"}, "verse": False}
    summary |= {"language": {"code": None, "name": None, "script": "Latin"}}
    write_card(tmp_path, [], {"stage": "pretrain"}, kind_of(summary), "Ab")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "\nlanguage:" not in card and "# A language model for texts (pretrain)" in card
    assert "- text: Ab\n" in card and 'print(poet("Ab")[0]' in card
