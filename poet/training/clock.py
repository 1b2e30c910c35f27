"""Training by the clock: a shape that a budget of minutes is enough for, as many steps as it holds, and a learning rate that
is zero when it is over.

Knows Trainer's events, its scheduler and names of options; knows nothing of what a shape is. The number of steps is estimated from the run's own speed
and again and again corrected, so that evaluation, other programs and another machine all count as they come. Two runs by
the clock are therefore never alike to the last digit.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainingArguments
from transformers.optimization import get_scheduler
from transformers.trainer_callback import ProgressCallback

from poet.errors import UserError
from poet.speed import hardware
from poet.training import checkpoints
from poet.training.options import PretrainArguments, given

UNKNOWN = 1_000_000  # steps, until the first of them have been timed
_WARM_UP = 3  # steps that compile
_EVERY = 10


def choose_shape(stage_args: PretrainArguments, args: TrainingArguments) -> None:
    """Under `minutes`, sets the options of the recipe's table `shapes` that the budget is enough for.

    The budget is what this machine does in matrix products in that time, as it is measured here. What a person has given on the
    command line stays, and a run that is gone on with keeps the shape that it began with.

    Raises:
        UserError: a row names something that is no option, or a value that the model cannot have.
    """
    if stage_args.minutes is None or not stage_args.shapes:
        return
    earlier = checkpoints.arguments_of(Path(args.output_dir))
    if earlier:
        row = {name: earlier[name] for row in stage_args.shapes for name in row if name in earlier}
    else:
        hardware.use_all_cores()
        gflops = args.world_size * hardware.matmul_gflops(
            torch.bfloat16 if args.bf16 else torch.float32
        )
        chosen = [row_for(stage_args.shapes, gflops * 60 * stage_args.minutes / 1e3)]
        row = broadcast_object_list(chosen)[0]  # processes measure differently
    for name in row.keys() - given():
        owner = next((each for each in (stage_args, args) if hasattr(each, name)), None)
        if owner is None:
            raise UserError(f"shapes: there is no option {name}")
        if not isinstance(row[name], (int, float)):
            raise UserError(f"shapes: {name} is a number, not {row[name]}")
        setattr(owner, name, row[name])
    try:
        stage_args.__post_init__()  # what it looked at has changed
    except ValueError as error:
        raise UserError(f"shapes: {error}") from error
    if args.process_index == 0:
        print(
            f"for {stage_args.minutes:g} min: "
            + ", ".join(f"{k} {v}" for k, v in sorted(row.items())),
            flush=True,
        )


def row_for(shapes: list[dict[str, Any]], budget: float) -> dict[str, Any]:
    """The options of the last row whose `teraflop` are not above the budget, or else of the first."""
    enough = [row for row in shapes if row["teraflop"] <= budget] or shapes[:1]
    return {name: value for name, value in enough[-1].items() if name != "teraflop"}


class TrainByTheClock(TrainerCallback):
    """Sets `max_steps` and the schedule so that training ends after `minutes`, compilation and evaluation included.

    Args:
        trainer: whose scheduler is bent; its `seconds_so_far()` counts what came before an interruption too.
        planned: the steps that a run which is gone on with had in mind.
        now: the clock, in seconds.
    """

    def __init__(
        self,
        trainer,
        minutes: float,
        planned: int | None = None,
        now: Callable[[], float] = time.perf_counter,
    ):
        self.trainer, self.budget, self.planned, self.now = trainer, 60 * minutes, planned, now

    def on_train_begin(self, args, state, control, **kwargs):
        self.begun, self.before = self.now(), self.trainer.seconds_so_far()
        self.first, self.first_at = state.global_step + _WARM_UP, 0.0
        self.paused = 0.0
        if self.planned is not None:
            state.max_steps = args.max_steps = self.planned
            self._bend(args, state)

    def on_step_end(self, args, state, control, **kwargs):
        step, now = state.global_step, self.now()
        if step == self.first:
            self.first_at, self.paused = now, 0.0
        if step <= self.first or (step - self.first) % _EVERY:
            return control
        seconds = (now - self.first_at - self.paused) / (step - self.first)
        left = self.budget - self.before - (now - self.begun)
        steps = [step + max(0, int(left / seconds))]
        # Processes each have a clock of their own and must take the same steps: they go by the first one's.
        state.max_steps = args.max_steps = broadcast_object_list(steps)[0]
        self._bend(args, state)
        control.should_training_stop |= state.max_steps <= step
        return control

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        self.paused += metrics.get("eval_runtime", 0.0)  # no part of a step's time

    def _bend(self, args, state) -> None:
        scheduler = getattr(self.trainer.lr_scheduler, "scheduler", self.trainer.lr_scheduler)
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
            group["lr"] = rate  # making a scheduler sets the rate of step 0
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
                callback.training_bar.total = state.max_steps
