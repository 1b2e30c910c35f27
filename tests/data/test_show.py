"""The batches that stage 1 shows are those of the trainers."""

import json

import pytest
import torch
from helpers import ROOT
from rich.cells import cell_len
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

import run
from poet.data.poems import Poem
from poet.data.rows import POEM_SEPARATOR, dpo_row, sft_row
from poet.data.show import IGNORED, make_batch, show_stage
from poet_tokenizer import build_tokenizer, encode_text

POEMS = [
    Poem("春夜", ("一二三四五，六七八九十。", "甲乙丙丁戊，己庚辛壬癸。")),
    Poem("喜", ("一二三四五，六七八九十。",)),
    Poem("雨山", ("甲乙丙丁戊己庚，辛壬癸一二三四。",)),
]
TEXTS = [poem.with_title for poem in POEMS]
ROWS = {
    "pretrain": [{"text": text} for text in TEXTS],
    "sft": [sft_row(poem) for poem in POEMS],
    "dpo": [dpo_row((chosen, POEMS[2])) for chosen in POEMS[:2]],
}


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer("".join(TEXTS), 64)


def prompt_length(tokenizer, title: str) -> int:
    return len(tokenizer(f"<INS>請用以下題目寫一首詩<INP>{title}<RES>")["input_ids"])


def test_every_label_of_a_pretraining_block_is_a_token(tokenizer):
    batch = make_batch("pretrain", ROWS["pretrain"], tokenizer, 10)
    ids = encode_text(tokenizer, POEM_SEPARATOR.join(TEXTS))
    assert batch.shape == (2, 10)
    assert batch.input_ids == batch.labels == [ids[:10], ids[10:20]]


def test_the_prompt_and_the_padding_of_fine_tuning_give_no_loss(tokenizer):
    batch = make_batch("sft", ROWS["sft"], tokenizer, 64)
    assert batch.shape == (3, max(len(ids) for ids in batch.input_ids))
    for poem, ids, labels in zip(POEMS, batch.input_ids, batch.labels, strict=True):
        start = prompt_length(tokenizer, poem.title)
        end = start + len(poem.text) + 1  # the end mark is a label too
        assert labels[:start] == [IGNORED] * start
        assert labels[start:end] == ids[start:end]
        assert tokenizer.decode(labels[start:end]) == f"{poem.text}<end>"
        assert labels[end:] == [IGNORED] * (len(ids) - end)
        assert ids[end:] == [tokenizer.pad_token_id] * (len(ids) - end)


def test_alignment_has_the_preferred_rows_first(tokenizer):
    batch = make_batch("dpo", ROWS["dpo"], tokenizer, 64)
    assert batch.shape[0] == 4
    answers = [tokenizer.decode([i for i in row if i != IGNORED]) for row in batch.labels]
    assert answers == [f"{POEMS[k].text}<end>" for k in (0, 1, 2, 2)]
    prompts = [row.count(IGNORED) for row in batch.labels]
    lengths = [prompt_length(tokenizer, POEMS[k].title) for k in (0, 1, 0, 1)]
    padding = [row.count(tokenizer.pad_token_id) for row in batch.input_ids]
    assert prompts == [a + b for a, b in zip(lengths, padding, strict=True)]


def encoded(tokenizer, row: dict, answer: str) -> tuple[list[int], list[int]]:
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
    whole = tokenizer.apply_chat_template(row["prompt"] + row[answer])["input_ids"]
    return prompt, whole[len(prompt) :]


def test_batches_equal_those_of_trl(tokenizer):
    examples = []
    for row in ROWS["sft"]:
        prompt, answer = encoded(tokenizer, row, "completion")
        examples.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    theirs = DataCollatorForLanguageModeling(tokenizer.pad_token_id)(examples)
    ours = make_batch("sft", ROWS["sft"], tokenizer, 64)
    assert theirs["input_ids"].tolist() == ours.input_ids
    assert theirs["labels"].tolist() == ours.labels

    examples = []
    for row in ROWS["dpo"]:
        prompt, chosen = encoded(tokenizer, row, "chosen")
        _, rejected = encoded(tokenizer, row, "rejected")
        examples.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    theirs = DataCollatorForPreference(tokenizer.pad_token_id)(examples)
    ours = make_batch("dpo", ROWS["dpo"], tokenizer, 64)
    assert theirs["input_ids"].tolist() == ours.input_ids
    mask = torch.tensor(ours.labels) != IGNORED
    assert theirs["completion_mask"].bool().equal(mask)


@pytest.mark.parametrize("stage", ROWS)
def test_a_stage_is_shown_in_a_few_lines_of_a_terminal(tokenizer, stage):
    lines = show_stage(stage, ROWS[stage], tokenizer, 32).splitlines()
    assert len(lines) <= 12
    assert max(map(cell_len, lines)) <= 100


def test_columns_of_the_table_line_up(tokenizer):
    lines = show_stage("sft", ROWS["sft"], tokenizer, 32).splitlines()
    tokens, ids, labels = (
        line for line in lines if line[13:20].strip() in ("tokens", "ids", "labels")
    )
    assert cell_len(tokens) == cell_len(ids) == cell_len(labels)
    assert "<RES>" in tokens and "<end>" in tokens and "-100" in labels


def test_run_shows_every_stage_after_making_the_data(tmp_path, invented, capsys):
    (tmp_path / "poems.json").write_text(json.dumps(invented(60)), encoding="utf-8")
    recipe, words = ROOT / "configs" / "sample", ["--corpus", str(tmp_path / "poems.json")]
    run.make_data(run.data_options(recipe, words), tmp_path / "run")
    run.show_rows(recipe, tmp_path / "run")
    output = capsys.readouterr().out
    assert all(f"\n{word} sees" in output for word in ("Pretraining", "Fine-tuning", "Alignment"))
    assert "(2, 128)" in output  # the n_positions of the recipe
