"""Shows a training in one bar with loss, speed and time left. Hides the libraries' own output.

On a terminal the bar moves. Elsewhere a plain line appears after each tenth of the steps.
"""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from poet import console
from poet.training.trainer import UNKNOWN_STEPS, PoetTrainerMixin


def silence_libraries() -> None:
    """Switches off the libraries' progress bars, and warnings about their own outdated calls."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()
    # These concern calls between the libraries. A user cannot act on them.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|trl")


@contextmanager
def shown(trainer: PoetTrainerMixin) -> Iterator[None]:
    """Shows the training that runs inside the block."""
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if trainer.args.process_index:
        yield
        return
    progress = TrainingProgress(trainer)
    trainer.add_callback(progress)
    try:
        yield
    finally:
        progress.close()


class TrainingProgress(TrainerCallback):
    """Follows a trainer with a bar or with plain lines."""

    def __init__(self, trainer: PoetTrainerMixin):
        self.trainer = trainer
        self.console: Console = console.stdout()
        self.bar = console.bar(self.console, "facts") if console.on_terminal() else None
        self.facts = ""
        self.started_at, self.tokens_before = time.perf_counter(), trainer.tokens_trained

    def on_train_begin(self, args, state, control, **kwargs):
        self.started_at, self.tokens_before = time.perf_counter(), self.trainer.tokens_trained
        self.tenths = 10 * state.global_step // max(1, state.max_steps)
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task(
                self.trainer.stage.name,
                facts="",
                total=state.max_steps,
                completed=state.global_step,
            )

    def on_log(self, args, state, control, logs, **kwargs):
        facts = []
        if "reward" in logs:
            facts.append(f"reward {logs['reward']:.3f}")
        elif "loss" in logs:
            facts.append(f"loss {float(logs['loss']):.3f}")
        elif "sampled_loss" in logs:  # lower, because it counts fewer characters
            facts.append(f"sampled loss {float(logs['sampled_loss']):.3f}")
        tokens = self.trainer.tokens_trained - self.tokens_before
        if facts and tokens:
            speed = tokens / (time.perf_counter() - self.started_at)
            facts.append(f"{speed:,.0f} tokens/s")
        self.facts = "  ".join(facts) or self.facts

    def on_step_end(self, args, state, control, **kwargs):
        total = state.max_steps if state.max_steps < UNKNOWN_STEPS else None
        if self.bar:
            self.bar.update(self.task, completed=state.global_step, total=total, facts=self.facts)
        elif total and (tenths := 10 * state.global_step // total) > self.tenths:
            self.tenths = tenths
            left = (time.perf_counter() - self.started_at) / state.global_step
            left *= total - state.global_step
            facts = f"  {self.facts}" if self.facts else ""
            self.console.print(f"step {state.global_step} of {total}{facts}  {left:.0f} s left")

    def close(self) -> None:
        """Ends the bar, so that later output starts on a line of its own."""
        if self.bar:
            self.bar.stop()
