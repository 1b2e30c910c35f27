"""Several processes: each takes part in everything that the others wait for."""

import json

import pytest
import torch
from helpers import in_processes
from transformers import TrainingArguments

from poet.alignment.poems import of_first_process
from poet.errors import UserError
from poet.training import checks, clock
from poet.training.options import PretrainOptions


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
