"""Checkpoints and poets are measured alike."""

import math

import pytest
from helpers import make_checkpoint

from poet.evaluation import checkpoints
from poet.evaluation.checkpoints import (
    ThemeTest,
    evaluate_checkpoints,
    mark_cut_off,
    write_answers,
)
from poet.evaluation.held_out import Answer, HeldOut
from poet.evaluation.rates import rates
from poet.generation.load import load
from poet.generation.write import write
from poet_tokenizer import ask, encode_text

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"
SEVEN = "一二三四五六七，八九十甲乙丙丁。\n戊己庚辛壬癸子，丑寅卯辰巳午未。"
REGULATED = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"
HELD_OUT = HeldOut(
    [Answer(ask("春"), FIVE), Answer(ask("夜"), SEVEN), Answer(ask("春" * 41), SEVEN)],
    [FIVE + SEVEN + FIVE],
    [FIVE],
    begin_with_titles=False,
)


def test_checkpoints_and_poets_are_measured_alike(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "run" / "sft", characters=FIVE + SEVEN + "春夜")
    result = evaluate_checkpoints([checkpoint], HELD_OUT, titles=5, poems=[REGULATED])
    row = result.checkpoints[str(checkpoint)]
    assert result.titles == 2  # titles of more than forty characters are left out
    assert result.poets.well_formed.value == 1 and result.poems.regulated.value == 1
    assert row.perplexity.value == pytest.approx(math.exp(row.loss.value))
    assert row.measures().keys() >= result.poets.measures().keys() | {
        "poem_loss",
        "poem_loss_five_character",
        "title_gain",
    }
    assert row.leaked_poems == 1  # FIVE was trained on
    assert row.poem_loss_unseen != row.poem_loss
    assert evaluate_checkpoints([checkpoint], HELD_OUT, titles=5, poems=[REGULATED]) == result
    assert list(result.columns()) == [str(checkpoint), "poems", "poets"]
    assert result.to_json().keys() == {"checkpoints", "poets", "poems", "titles", "seed"}


def test_poems_for_theme_words_are_searched_for_them():
    training = [FIVE.replace("一二", "明月").replace("三", chr(0x5000 + i)) for i in range(30)]
    test = ThemeTest(training[:9], training, seed=0)
    assert len(test.themes) == 9
    assert all(word in training[0] for word in " ".join(test.themes).split())
    row = test.rates([f"{theme.replace(' ', '')}，" for theme in test.themes])
    assert row.theme_words.value == row.theme_words_or_kin.value == 1
    assert row.theme_words_by_chance.value < 1  # the words of another theme


def test_a_model_is_asked_for_theme_words_as_in_training(tmp_path):
    training = [f"明月照{character}山，明月落江天。" for character in "一二三四五六七八九"]
    test = ThemeTest(training, training, seed=0)
    model, tokenizer = load(make_checkpoint(tmp_path, characters="明月照江天落山，。\n"))
    row = test.measures(model, tokenizer, seed=3)
    settings = {"seed": 3, "instruction": "請用以下主題寫一首詩", "guidance_scale": 2.0}
    assert row == test.rates(write(model, tokenizer, test.themes, **settings))
    assert 0 < row.theme_words.value < 1


def test_a_poem_that_was_cut_off_is_not_well_formed(tmp_path, monkeypatch):
    model, tokenizer = load(make_checkpoint(tmp_path, characters=FIVE))
    ids = encode_text(tokenizer, FIVE)
    monkeypatch.setattr(
        checkpoints, "write_ids", lambda *_, **__: [ids, [*ids, tokenizer.eos_token_id]]
    )
    answers = write_answers(model, tokenizer, [ask("春"), ask("夜")], seed=0)
    assert answers == [(FIVE, False), (FIVE, True)]
    assert rates(mark_cut_off(answers)).well_formed.value == 0.5


def test_the_name_of_a_folder_does_not_decide_what_is_measured(tmp_path):
    writer = make_checkpoint(tmp_path / "run" / "pretrain", characters=FIVE + SEVEN)
    pretrained = make_checkpoint(tmp_path / "run" / "sft", characters=FIVE + SEVEN)
    (pretrained / "_arguments.json").write_text('{"stage": "pretrain"}', encoding="utf-8")
    rows = evaluate_checkpoints([writer, pretrained], HELD_OUT, titles=2).checkpoints
    assert rows[str(writer)].poem_loss is not None and rows[str(writer)].well_formed is not None
    assert rows[str(pretrained)].measures().keys() <= {"loss", "perplexity", "loss_unseen"}
