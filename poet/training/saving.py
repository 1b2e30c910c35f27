"""Saves whole checkpoints: a kill, a full disk or Ctrl-C never leaves half a checkpoint.

It knows the files of a checkpoint and the moments at which one can be saved. It does not know
losses or optimizers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerState
from transformers.trainer_utils import rotate_checkpoints

from poet import interrupts
from poet.files import publish_folder
from poet.generation.adapter import complete_adapter, is_adapter
from poet.training import checkpoints
from poet_tokenizer import save_tokenizer


@contextmanager
def changed(holder: Any, **values: Any) -> Iterator[None]:
    """Changes attributes of `holder` inside the block."""
    before = {name: getattr(holder, name) for name in values}
    for name, value in values.items():
        setattr(holder, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(holder, name, value)


class WholeCheckpoints(Trainer):
    """Saves a checkpoint under `unfinished/` and renames it. A killed save leaves no part."""

    def restore(self, state: TrainerState, checkpoint: Path) -> None:
        """Loads the last weights of an ended training, or the best if the recipe asks for them."""
        best = state.best_model_checkpoint if self.args.load_best_model_at_end else None
        self._load_from_checkpoint(best if best and Path(best).is_dir() else str(checkpoint))
        state.is_local_process_zero = self.is_local_process_zero()
        state.is_world_process_zero = self.is_world_process_zero()
        self.state = state

    def evaluate(self, *args, **kwargs):
        try:
            with interrupts.let_through():
                return super().evaluate(*args, **kwargs)
        except KeyboardInterrupt:
            self._save_last_step()
            raise

    def _save_last_step(self) -> None:
        """Saves a checkpoint if an evaluation was interrupted after steps that are not saved."""
        step, args = self.state.global_step, self.args
        is_saved = (Path(args.output_dir) / f"checkpoint-{step}").is_dir()
        # Several processes are interrupted at different places, and would wait for each other.
        can_save = self.is_in_train and args.world_size == 1 and not args.metric_for_best_model
        if step and can_save and not is_saved:
            self._save_checkpoint(self.model, trial=None)

    def _save_checkpoint(self, model, trial):
        with interrupts.held("stopping after this checkpoint"):
            self._save_whole_checkpoint(model, trial)

    def _save_whole_checkpoint(self, model, trial):
        folder = Path(self.args.output_dir)
        unfinished = folder / checkpoints.UNFINISHED
        self.args.output_dir = str(unfinished)
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
        except (OSError, RuntimeError):
            # If the first process cannot save, it removes the folder and ends. The others then lack
            # the folder. They wait here, until the end of the first process ends them too.
            checkpoint = unfinished / f"checkpoint-{self.state.global_step}"
            if not self.args.should_save and not checkpoint.is_dir():
                self.accelerator.wait_for_everyone()
            raise
        finally:
            self.args.output_dir = str(folder)
        name = f"checkpoint-{self.state.global_step}"
        best = f"checkpoint-{self.state.best_global_step}"
        if best == name or (folder / best).is_dir():  # the state names the folder before the rename
            self.state.best_model_checkpoint = str(folder / best)
            if self.args.should_save:
                self.state.save_to_json(str(unfinished / name / "trainer_state.json"))
        if self.args.should_save:
            publish_folder(unfinished / name, folder / name)
            unfinished.rmdir()
            rotate_checkpoints(
                output_dir=str(folder),
                save_total_limit=self.args.save_total_limit,
                best_model_checkpoint=self.state.best_model_checkpoint,
                use_mtime=False,
            )
        self.accelerator.wait_for_everyone()

    def save_model(self, output_dir=None, _internal_call=False):
        # Trainer switches the cache off in the config. A poem is then written much more slowly.
        with changed(self.model.config, use_cache=True):
            super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            # This pickle holds paths of the machine. The same options are in _arguments.json.
            (folder / "training_args.bin").unlink(missing_ok=True)
            if self.processing_class is not None:
                save_tokenizer(self.processing_class, folder)
            if is_adapter(folder):
                complete_adapter(folder, self.model)
