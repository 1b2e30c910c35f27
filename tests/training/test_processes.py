"""Several processes: each takes part in everything that the others wait for."""

import errno
import io
import json
import time
from contextlib import redirect_stderr
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import in_processes, random_model
from transformers import Trainer, TrainingArguments

from poet import errors
from poet.alignment.poems import of_first_process
from poet.errors import FREE_SPACE, UserError
from poet.training import checkpoints, checks, clock
from poet.training.options import PretrainOptions
from poet.training.trainer import PoetTrainerMixin
from poet_tokenizer import build_tokenizer


def rank() -> int:
    return torch.distributed.get_rank()


def arguments(folder, **settings) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to="none", **settings
    )


def test_all_processes_train_on_the_poems_of_the_first(tmp_path):
    def share() -> list[dict]:
        arguments(tmp_path).device  # noqa: B018  joins the other process
        return of_first_process([{"prompt": rank()}] * (1 + rank()))

    assert in_processes(2, share) == [[{"prompt": 0}]] * 2


def test_a_process_that_finds_the_record_of_a_faster_one_has_its_shape(tmp_path):
    record = tmp_path / "1" / "_arguments.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"n_layer": 3}), encoding="utf-8")

    def choose() -> int:
        args = arguments(tmp_path)
        args.device  # noqa: B018  joins the other process
        args.output_dir = str(tmp_path / str(rank()))
        options = PretrainOptions(minutes=1.0, shapes=[{"teraflop": 0, "n_layer": 2}])
        clock.choose_shape(options, args)
        torch.distributed.barrier()
        return options.n_layer

    assert in_processes(2, choose) == [2, 2]


def test_processes_with_different_numbers_of_batches_are_refused(tmp_path):
    def check() -> str:
        uneven = {"even_batches": False}
        args = arguments(tmp_path, hub_strategy="end", accelerator_config=uneven)
        with pytest.raises(UserError) as error:
            checks.check_options(PretrainOptions(), args)
        return str(error.value)

    assert all("even_batches false is not supported" in text for text in in_processes(2, check))


@pytest.mark.parametrize("is_late", [False, True])
def test_a_failed_save_of_the_first_process_ends_the_others(is_late, tmp_path):
    has_failed = tmp_path / "has_failed"

    def fail(*_):
        has_failed.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    def save_late(folder):
        while not has_failed.exists() or Path(folder).exists():  # until it is removed
            time.sleep(0.01)
        torch.save({}, Path(folder) / "rng_state_1.pth")

    class Pretrainer(PoetTrainerMixin, Trainer):
        pass

    def save() -> tuple[int, str]:
        tokenizer = build_tokenizer("春夜", 8)
        args = arguments(tmp_path, max_steps=1, save_steps=1, disable_tqdm=True)
        rows = [{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}] * 40
        stage = SimpleNamespace(name="pretrain", options=PretrainOptions(), speedups=None)
        trainer = Pretrainer(random_model(tokenizer, 8), args, stage=stage, train_dataset=rows)
        if rank() == 0:
            trainer._save_optimizer_and_scheduler = fail
        elif is_late:
            trainer._save_rng_state = save_late

        def train() -> None:
            with checkpoints.writing(tmp_path):
                trainer.train()

        with pytest.raises(SystemExit) as ended, redirect_stderr(io.StringIO()) as stderr:
            errors.run(train)
        return ended.value.code, stderr.getvalue().splitlines()[-1]

    first, second = in_processes(2, save)
    assert first == (2, f"error: cannot write {tmp_path}: No space left on device. {FREE_SPACE}")
    assert second == (1, "error: another process has ended. Its message says why.")
    assert not list(tmp_path.glob("checkpoint-*"))
