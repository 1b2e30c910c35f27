"""Turns a library's refusal of an option into one message.

A mistake of this project keeps its traceback. Libraries refuse options when a trainer, its
optimizer and its schedule are built. They refuse some options only in the first step. This module
knows tracebacks. It does not know options.
"""

import copy
import shutil
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer

from poet import device
from poet.errors import UserError, disk_error, first_line
from poet.training.checkpoints import has_result

if TYPE_CHECKING:
    from datasets import DatasetDict

    from poet.training.stage import Stage
    from poet.training.trainer import PoetTrainerMixin

_OURS = {"poet", "poet_tokenizer"}  # they may be installed next to the libraries


@contextmanager
def refusing(stage: "Stage", trainer: Trainer | None = None) -> Iterator[None]:
    """Turns what a library refuses inside the block into one message, and leaves no new folder.

    Args:
        trainer: if it trains inside the block, errors after its first step pass unchanged.
    """
    try:
        yield
    except Exception as error:
        if trainer is not None and trainer.state.global_step:
            raise
        is_ours = stage.is_new and not has_result(stage.folder)
        if is_ours and stage.args.process_index == 0:
            shutil.rmtree(stage.folder, ignore_errors=True)
        if message := _refusal(error, only_raised=trainer is not None):
            raise message from error
        raise


def try_out(
    stage: "Stage", trainer_class: "type[PoetTrainerMixin]", rows: "DatasetDict", **arguments: Any
) -> None:
    """Builds a trainer on a few rows and on copies of its models, and evaluates it.

    A stage calls it before slow work, such as writing poems: a wrong option is then refused before
    that work and not after it.
    """
    args = copy.copy(stage.args)
    args.report_to, args.push_to_hub = [], False
    batch = args.train_batch_size * args.world_size
    few = {name: part.take(min(len(part), batch)) for name, part in rows.items()}
    with (
        refusing(stage),
        torch.compiler.set_stance("force_eager"),
        device.undisturbed_random_numbers(args.device),
    ):
        trainer = trainer_class(
            stage=stage,
            args=args,
            train_dataset=few["train"],
            eval_dataset=few["test"],
            **copy.deepcopy(arguments),
        )
        trainer.evaluate()


def build_optimizer(trainer: Trainer) -> None:
    """Builds the optimizer and a schedule before training, so that both may be refused here."""
    if trainer.train_dataset is None or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return
    batches = trainer.get_train_dataloader()
    steps = trainer.set_initial_training_values(trainer.args, batches)[-1]
    if steps < 1:
        raise UserError("there is no step to train. Raise max_steps or num_train_epochs.")
    trainer.create_optimizer()
    any_weight = torch.nn.Parameter(torch.zeros(1))
    trainer.create_scheduler(steps, torch.optim.SGD([any_weight], lr=trainer.args.learning_rate))
    trainer.lr_scheduler = None  # training makes its own, with the optimizer


def _refusal(error: Exception, only_raised: bool) -> UserError | None:
    """Returns the message for an error that comes from a library, and None for any other error.

    Args:
        only_raised: whether the error must come from a `raise` in the library. In a training
            step, any other error is a mistake in code.
    """
    places = traceback.extract_tb(error.__traceback__)
    place = [each for each in places if Path(each.filename).is_file()][-1]  # not compiled code
    file = _within_a_library(place.filename)
    if isinstance(error, UserError) or file is None or disk_error(error):
        return None
    is_raised = (place.line or "").startswith("raise ")
    if only_raised and not is_raised:
        return None
    message = first_line(error) if is_raised else f"{type(error).__name__}: {first_line(error)}"
    return UserError(
        f"{file.parts[0]} refuses the options of this training: {message} ({file}, line "
        f"{place.lineno}). Change the option that causes this, or leave it out."
    )


def _within_a_library(filename: str) -> Path | None:
    """Returns the path below the folder of all libraries, like transformers/trainer.py."""
    for name in ("purelib", "platlib", "stdlib"):
        folder = Path(sysconfig.get_path(name))
        if Path(filename).is_relative_to(folder):
            file = Path(filename).relative_to(folder)
            return None if file.parts[0] in _OURS else file
    return None
