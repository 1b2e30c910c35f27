"""Trains for a number of minutes: picks a model size, ends with a learning rate of zero.

It knows Trainer's events and its scheduler. The number of steps follows from the speed of the run
and is corrected again and again, so evaluations and other programs count too. Two such runs never
give the same losses to the last digit.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerState, TrainingArguments
from transformers.optimization import get_scheduler

from poet.errors import UserError
from poet.training import checkpoints, checks
from poet.training.command_line import given
from poet.training.options import WHOLE_SHARE, PretrainOptions
from poet.training.trainer import PoetTrainerMixin

_WARM_UP = 3  # steps that compile
_EVERY = 10
# If bfloat16 is more than this many times as fast as float32, matrix products take little of a
# step. Their speed then says little about the step (benchmarks/LOG.md, "The budget of --minutes").
_MOST_OF_FLOAT32 = 3


def choose_shape(options: PretrainOptions, args: TrainingArguments) -> None:
    """Sets the options in the row of `shapes` that fits the budget.

    The budget is the number of operations that this machine computes in `minutes`. Options on the
    command line win. A resumed run keeps the shape that it began with.

    Raises:
        UserError: a row names something that is no option, or a value that the model cannot have.
    """
    if options.minutes is None or not options.shapes:
        return
    folder = Path(args.output_dir)
    if checkpoints.has_result(folder):
        earlier = checkpoints.arguments_of(folder)
        row = {name: earlier[name] for row in options.shapes for name in row if name in earlier}
    else:
        from poet.speed import hardware

        hardware.use_all_cores()
        gflops = hardware.matmul_gflops(torch.float32)
        if args.bf16:
            gflops = min(hardware.matmul_gflops(torch.bfloat16), _MOST_OF_FLOAT32 * gflops)
        row = row_for(options.shapes, args.world_size * gflops * 60 * options.minutes / 1e3)
    # The processes measure different speeds. A slow one may already find the record of the first.
    row = broadcast_object_list([row])[0]
    for name in row.keys() - given():
        holder = next((h for h in (options, args) if hasattr(h, name)), None)
        if holder is None:
            raise UserError(f"shapes: there is no option {name}")
        if not isinstance(row[name], (int, float)):
            raise UserError(f"shapes: {name} must be a number, not {row[name]}")
        setattr(holder, name, row[name])
    try:
        checks.check_shape(options)
    except UserError as error:
        raise UserError(f"shapes: {error}") from error
    if args.process_index == 0:
        chosen = ", ".join(f"{name} {value}" for name, value in sorted(row.items()))
        print(f"for {options.minutes:g} minutes: {chosen}", flush=True)


def row_for(shapes: list[dict[str, Any]], budget: float) -> dict[str, Any]:
    """Returns the options of the last row with `teraflop` at most `budget`, or of the first row."""
    fitting = [row for row in shapes if row["teraflop"] <= budget] or shapes[:1]
    return {name: value for name, value in fitting[-1].items() if name != "teraflop"}


class _Pace:
    """The mean time of one kind of step. The first steps compile and do not count."""

    def __init__(self):
        self.steps, self.seconds = -_WARM_UP, 0.0

    def add(self, seconds: float) -> None:
        self.steps += 1
        if self.steps > 0:
            self.seconds += seconds

    @property
    def mean(self) -> float:
        """The seconds per step, 0 if no step has been timed."""
        return self.seconds / max(1, self.steps)


class TrainByTheClock(TrainerCallback):
    """Sets `max_steps` and the schedule so that training ends after `minutes`.

    Compilation and evaluation count. Steps with a sampled vocabulary are faster than others, so
    the two kinds are timed apart.

    Args:
        trainer: Its `seconds_so_far()` includes the time before an interruption.
        planned: The number of steps that a resumed run had planned.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        trainer: PoetTrainerMixin,
        minutes: float,
        planned: int | None = None,
        now: Callable[[], float] = time.perf_counter,
    ):
        self.trainer, self.budget, self.planned, self.now = trainer, 60 * minutes, planned, now

    def on_train_begin(self, args, state, control, **kwargs):
        self.started_at, self.seconds_before = self.now(), self.trainer.seconds_so_far()
        self.first_step = state.global_step + _WARM_UP
        self.step_ended_at, self.evaluating = self.started_at, 0.0
        self.whole, self.sampled = _Pace(), _Pace()
        self.whole_over_sampled = 1.0
        # The last steps score all characters. So do the first ones, to measure their time.
        self.trainer.first_sampled = self.first_step + _EVERY
        if self.planned is not None:
            state.max_steps = args.max_steps = self.planned
            self._replan(args, state)

    def on_step_end(self, args, state, control, **kwargs):
        step, now = state.global_step, self.now()
        self.is_sampled = getattr(self.trainer, "is_sampled", False)  # only in pretraining
        pace = self.sampled if self.is_sampled else self.whole
        pace.add(now - self.step_ended_at - self.evaluating)
        self.step_ended_at, self.evaluating = now, 0.0
        if step <= self.first_step or (step - self.first_step) % _EVERY:
            return control
        left = self.budget - self.seconds_before - (now - self.started_at)
        steps = step + max(0, int(self._steps_in(left, step)))
        # All processes must take the same number of steps: that of the first one.
        state.max_steps = args.max_steps = broadcast_object_list([steps])[0]
        self._replan(args, state)
        control.should_training_stop |= state.max_steps <= step
        return control

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        self.evaluating += metrics.get("eval_runtime", 0.0)

    def _steps_in(self, seconds: float, step: int) -> float:
        """Returns the number of steps after `step` that take `seconds`."""
        if not self.is_sampled:
            return seconds / self.whole.mean
        sampled = self.sampled.mean or self.whole.mean
        if self.sampled.steps <= _EVERY:
            self.whole_over_sampled = self.whole.mean / sampled
        mean = (1 - WHOLE_SHARE) * sampled + WHOLE_SHARE * self.whole_over_sampled * sampled
        return max((seconds + step * sampled) / mean - step, 0.0)

    def _replan(self, args: TrainingArguments, state: TrainerState) -> None:
        """Replaces the curve of the learning rate by that of the new number of steps."""
        scheduler: Any = getattr(self.trainer.lr_scheduler, "scheduler", self.trainer.lr_scheduler)
        rates = [group["lr"] for group in scheduler.optimizer.param_groups]
        fresh = get_scheduler(
            args.lr_scheduler_type,
            scheduler.optimizer,
            args.get_warmup_steps(state.max_steps),
            state.max_steps,
            args.lr_scheduler_kwargs,
        )
        scheduler.lr_lambdas = fresh.lr_lambdas
        for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate  # a new scheduler sets the rate of step 0
