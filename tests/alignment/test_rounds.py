"""The options of each round of a training that is repeated."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import TrainingArguments

from poet.alignment.rounds import rounds
from poet.errors import UserError


@dataclass
class Options:
    rounds: int = 3
    minutes: float | None = None
    model_name_or_path: str | None = "sft"


def training(folder: Path) -> TrainingArguments:
    return TrainingArguments(str(folder), max_steps=10, push_to_hub=True, use_cpu=True)


def test_each_round_starts_from_the_model_of_the_round_before(tmp_path):
    output = str(tmp_path / "dpo")
    steps = list(rounds(Options(minutes=6.0), training(tmp_path / "dpo")))
    assert [number for _, _, number in steps] == [0, 1, 2]
    folders = [f"{output}-round-1", f"{output}-round-2", output]
    assert [args.output_dir for _, args, _ in steps] == folders
    assert [own.model_name_or_path for own, _, _ in steps] == ["sft", *folders[:2]]
    assert [args.max_steps for _, args, _ in steps] == [10, 5, 5]
    assert [own.minutes for own, _, _ in steps] == [2.0, 2.0, 2.0]
    assert [args.push_to_hub for _, args, _ in steps] == [False, False, True]


def finish(folder: Path) -> None:
    folder.mkdir()
    (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")


def test_rounds_before_a_finished_last_round_are_not_repeated(tmp_path):
    finish(tmp_path / "dpo")
    with pytest.raises(UserError, match="dpo-round-2, the round before it, is missing"):
        list(rounds(Options(), training(tmp_path / "dpo")))
    finish(tmp_path / "dpo-round-2")
    ((own, _, number),) = rounds(Options(), training(tmp_path / "dpo"))
    assert (own.model_name_or_path, number) == (str(tmp_path / "dpo-round-2"), 2)


def test_a_run_with_another_number_of_rounds_is_refused(tmp_path):
    finish(tmp_path / "dpo")
    (tmp_path / "dpo" / "_arguments.json").write_text('{"rounds": 2}', encoding="utf-8")
    with pytest.raises(UserError, match="rounds was 2, is 3"):
        list(rounds(Options(), training(tmp_path / "dpo")))
