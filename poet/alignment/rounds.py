"""Repeats a training in rounds, in which a model learns from poems that it writes.

Each round starts from the model of the round before, and samples new poems from it.

It knows options and folders. It does not train.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from transformers import TrainingArguments

from poet.errors import UserError
from poet.files import refuse_changes
from poet.training.checkpoints import (
    arguments_of,
    has_result,
    has_weights,
    is_finished,
    round_folder,
)

LATER_STEPS = 0.5  # of max_steps: a later round starts from a model that has learned already


class RoundOptions(Protocol):
    """The options that `rounds` reads and changes."""

    rounds: int
    minutes: float | None
    model_name_or_path: str | None


_Options = TypeVar("_Options", bound=RoundOptions)


def rounds(
    options: _Options, args: TrainingArguments
) -> Iterator[tuple[_Options, TrainingArguments, int]]:
    """Yields the options of each round, and its number from 0.

    The last round writes OUTPUT_DIR, and only that round is pushed to the Hub. The rounds before
    it write OUTPUT_DIR-round-1, OUTPUT_DIR-round-2 and so on. If the last round is finished, the
    rounds before it are not repeated.

    Raises:
        UserError: OUTPUT_DIR holds a run with another number of rounds. Or the run is finished and
            its earlier rounds were deleted.
    """
    output, start = args.output_dir, options.model_name_or_path
    if has_result(Path(output)):
        rounds_before = arguments_of(Path(output)).get("rounds", options.rounds)
        refuse_changes(Path(output), {"rounds": rounds_before}, {"rounds": options.rounds})
    finished = is_finished(Path(output)) and options.rounds > 1
    round_before_last = round_folder(output, options.rounds - 1)
    if finished and not has_weights(round_before_last):
        raise UserError(
            f"{output} is finished, but {round_before_last}, the round before it, is missing. "
            "Pass another --output_dir."
        )
    for number in range(options.rounds):
        is_last = number == options.rounds - 1
        round_options, round_args = copy.copy(options), copy.copy(args)
        round_options.model_name_or_path = start
        if options.minutes is not None:
            round_options.minutes = options.minutes / options.rounds
        if number > 0 and args.max_steps > 0:
            round_args.max_steps = max(1, round(LATER_STEPS * args.max_steps))
        if not is_last:
            round_args.output_dir = str(round_folder(output, number + 1))
            round_args.push_to_hub = False
        if is_last or not finished:
            yield round_options, round_args, number
        start = round_args.output_dir
