"""Refuses options that cannot work, before anything is read or written.

Most refusals of options are in this file. Each is one message that says what to change.
"""

import math
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from poet.errors import UserError
from poet.training.options import (
    DistillOptions,
    DPOOptions,
    Options,
    PretrainOptions,
    SFTOptions,
)

_AT_LEAST = {
    "seed": 0,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "n_positions": 2,
    "n_embd": 1,
    "n_layer": 1,
    "n_head": 1,
    "learning_rate": 0,
    "muon_learning_rate": 0,
    "weight_decay": 0,
    "embedding_weight_decay": 0,
    "adam_epsilon": 0,
    "dropout": 0,
    "adam_beta1": 0,
    "adam_beta2": 0,
    "sampled_vocabulary": 0,
    "sampled_titles": 0,
    "corruptions": 0,
    "theme_fraction": 0,
    "rounds": 1,
    "samples_per_round": 1,
}
_AT_MOST = {
    "seed": 2**32 - 1,  # of numpy's generator
    "theme_fraction": 1,
    "corruptions": 20,  # the shortest form has 20 characters
}
_BELOW = {"dropout": 1, "adam_beta1": 1, "adam_beta2": 1}


def check_options(options: Options, args: TrainingArguments) -> None:
    """Raises a UserError for the first option, ours or the library's, that cannot work."""
    for holder in (options, args):
        _check_ranges(holder)
    _check_library_options(options.stage, args)
    _check_minutes(options, args)
    if options.muon_learning_rate is not None:
        for name in ("optim", "optim_args"):
            if getattr(args, name) != _default(args, name):
                raise UserError(f"give --{name} or --muon_learning_rate, not both")
    if isinstance(options, SFTOptions):
        _check_author(options)
    if isinstance(options, PretrainOptions):
        check_shape(options)
        if options.embedding_weight_decay and options.muon_learning_rate is None:
            raise UserError(
                "--embedding_weight_decay has no effect without --muon_learning_rate. Give both."
            )
        if options.streaming and options.minutes is None and args.max_steps <= 0:
            raise UserError("streaming has no end: add --max_steps or --minutes")
    if isinstance(options, DPOOptions) and options.corruptions and not options.sampled_titles:
        raise UserError("--corruptions needs --sampled_titles above 0")
    if isinstance(options, DistillOptions):
        _check_distillation(args)


def _check_author(options: SFTOptions) -> None:
    if options.author == "":
        raise UserError(
            "give an author, as in: python train_sft.py --config configs/tang/author.yaml "
            "--author 李白"
        )
    if options.author and options.muon_learning_rate is not None:
        raise UserError(
            "--muon_learning_rate does not work with --author. Leave it out, or use "
            "configs/tang/author.yaml."
        )


def check_shape(options: PretrainOptions) -> None:
    """Raises a UserError for a model that cannot be built."""
    _check_ranges(options)
    if options.n_embd % options.n_head:
        raise UserError(
            f"n_embd {options.n_embd} is not a multiple of n_head {options.n_head}: "
            "all heads have the same width. Change one of the two."
        )
    for row in options.shapes:
        if not isinstance(row, dict) or not isinstance(row.get("teraflop"), (int, float)):
            raise UserError(f"shapes: {row} must hold options, and a number under the key teraflop")


def _check_ranges(holder: Any) -> None:
    def value(name: str) -> Any:
        number = getattr(holder, name, None)
        return number if isinstance(number, (int, float)) else None

    for name in vars(holder):
        if (number := value(name)) is not None and math.isnan(number):
            raise UserError(f"{name} must be a number, not {number}")
    for name, least in _AT_LEAST.items():
        if value(name) == math.inf:
            raise UserError(f"{name} must be a finite number, not {value(name)}")
        if (number := value(name)) is not None and not number >= least:
            raise UserError(f"{name} must be at least {least}, not {number}")
    for name, most in _AT_MOST.items():
        if (number := value(name)) is not None and number > most:
            raise UserError(f"{name} must be at most {most}, not {number}")
    for name, bound in _BELOW.items():
        if (number := value(name)) is not None and number >= bound:
            raise UserError(f"{name} must be below {bound}, not {number}")
    number = value("temperature")
    if number is not None and not (number > 0 and math.isfinite(number)):
        raise UserError(f"temperature must be a number above 0, not {number}")


def _check_library_options(stage: str, args: TrainingArguments) -> None:
    if args.hub_strategy != "end":
        raise UserError(
            f"hub_strategy {args.hub_strategy.value} is not supported. "
            "Use end: only a finished stage is pushed."
        )
    if args.save_only_model:
        raise UserError(
            "save_only_model is not supported: a run cannot resume from such checkpoints. "
            "Leave it out."
        )
    if str(args.resume_from_checkpoint).lower() not in ("none", "true"):
        raise UserError(
            f"resume_from_checkpoint {args.resume_from_checkpoint} is not supported: a run resumes "
            "from the last whole checkpoint in output_dir. To resume from an earlier one, delete "
            "the later ones."
        )
    if args.dataloader_persistent_workers and not args.dataloader_num_workers:
        raise UserError("dataloader_persistent_workers needs dataloader_num_workers above 0")
    if args.world_size > 1 and not args.accelerator_config.even_batches:
        raise UserError(
            "accelerator_config even_batches false is not supported with several processes: those "
            "with fewer batches end early, and the others wait for them forever. Leave it out."
        )
    if args.train_sampling_strategy == "group_by_length" and stage in ("pretrain", "grpo"):
        raise UserError(
            f"train_sampling_strategy group_by_length does not work for {stage}. Leave it out."
        )
    if getattr(args, "padding_free", False):
        raise UserError(
            "padding_free is not supported: a packed batch can be longer than n_positions. "
            "Leave it out."
        )


def _check_minutes(options: Options, args: TrainingArguments) -> None:
    if options.minutes is None:
        return
    if not options.minutes > 0:
        raise UserError(f"minutes must be above 0, not {options.minutes}")
    if args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy"):
        raise UserError(
            f"--minutes does not work with lr_scheduler_type {args.lr_scheduler_type.value}. "
            "Choose another, such as linear."
        )
    for name in ("logging_steps", "eval_steps", "save_steps"):
        if 0 < (getattr(args, name) or 0) < 1:
            raise UserError(
                f"{name} {getattr(args, name)} is a fraction of all steps. With --minutes, their "
                "number is not known. Give a whole number."
            )


def _check_distillation(args: TrainingArguments) -> None:
    for name in (
        "loss_type",
        "label_smoothing_factor",
        "packing",
        "average_tokens_across_devices",
    ):
        if getattr(args, name) != _default(args, name):
            raise UserError(
                f"{name} {getattr(args, name)} does nothing in distillation. Leave it out."
            )
    if args.completion_only_loss is False:
        raise UserError("completion_only_loss must be true in distillation. Leave it out.")


def _default(args: TrainingArguments, name: str) -> Any:
    return type(args).__dataclass_fields__[name].default


def check_room(folder: Path, model: Any, args: TrainingArguments, kept: int) -> None:
    """Raises a UserError if the disk has no room for two checkpoints: the last and the next one.

    Args:
        model: A model of transformers or PEFT. Of an adapter, only the trained weights are saved.
        kept: The number of checkpoints that the folder already holds.
    """
    parameters = list(model.parameters())
    trained = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
    is_adapter = hasattr(model, "peft_config")
    weights = trained if is_adapter else sum(p.numel() * p.element_size() for p in parameters)
    # AdamW keeps two numbers per weight. Other optimizers keep fewer.
    states = 2 * trained if args.optim.startswith("adamw_torch") else 0
    needed = max(0, 2 - kept) * (weights + states)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{folder}: its checkpoints need {needed / 1e6:,.0f} MB, and the disk has "
            f"{free / 1e6:,.0f} MB left. Free some space, or pass another --output_dir."
        )
