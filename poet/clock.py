"""Training by the clock: as many steps as a budget of minutes holds, and a learning rate that is zero when it is over.

Knows Trainer's events and its scheduler; knows nothing of models. The number of steps is estimated from the run's own speed
and again and again corrected, so that evaluation, other programs and another machine all count as they come. Two runs by
the clock are therefore never alike to the last digit.
"""

import time
from collections.abc import Callable

from transformers import TrainerCallback
from transformers.optimization import get_scheduler
from transformers.trainer_callback import ProgressCallback

UNKNOWN = 1_000_000  # steps, until the first of them have been timed
_WARM_UP = 3  # steps that compile
_EVERY = 10


class TrainByTheClock(TrainerCallback):
    """Sets `max_steps` and the schedule so that training ends after `minutes`, compilation and evaluation included.

    Args:
        trainer: whose scheduler is bent; its `seconds_so_far()` counts what came before an interruption too.
        now: the clock, in seconds.
    """

    def __init__(self, trainer, minutes: float, now: Callable[[], float] = time.perf_counter):
        self.trainer, self.budget, self.now = trainer, 60 * minutes, now

    def on_train_begin(self, args, state, control, **kwargs):
        self.begun, self.before = self.now(), self.trainer.seconds_so_far()
        self.first, self.first_at = state.global_step + _WARM_UP, 0.0
        self.paused = 0.0

    def on_step_end(self, args, state, control, **kwargs):
        step, now = state.global_step, self.now()
        if step == self.first:
            self.first_at, self.paused = now, 0.0
        if step <= self.first or (step - self.first) % _EVERY:
            return control
        seconds = (now - self.first_at - self.paused) / (step - self.first)
        left = self.budget - self.before - (now - self.begun)
        state.max_steps = args.max_steps = step + max(0, int(left / seconds))
        self._bend(args, state)
        control.should_training_stop |= state.max_steps <= step
        return control

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        self.paused += metrics.get("eval_runtime", 0.0)  # no part of a step's time

    def _bend(self, args, state) -> None:
        scheduler = getattr(self.trainer.lr_scheduler, "scheduler", self.trainer.lr_scheduler)
        rates = [group["lr"] for group in scheduler.optimizer.param_groups]
        fresh = get_scheduler(
            args.lr_scheduler_type, scheduler.optimizer, args.get_warmup_steps(state.max_steps), state.max_steps
        )
        scheduler.lr_lambdas = fresh.lr_lambdas
        for group, rate in zip(scheduler.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate  # making a scheduler sets the rate of step 0
        for callback in self.trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
                callback.training_bar.total = state.max_steps
