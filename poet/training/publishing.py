"""Does the last work of a stage: the last evaluation, the files of the folder, a push to a hub."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from poet.data import run_data
from poet.data.kind import kind_of
from poet.errors import UserError, first_line
from poet.training import card, checkpoints, plots
from poet.training.trainer import NonFiniteLoss, PoetTrainerMixin

if TYPE_CHECKING:
    from poet.training.stage import Stage


def evaluate_last_weights(trainer: PoetTrainerMixin) -> None:
    """Evaluates, unless the last evaluation was of the weights that will be published.

    Raises:
        NonFiniteLoss: the loss is NaN or infinite.
    """
    last = card.last_evaluation(trainer.state.log_history)
    step = trainer.state.global_step
    best_is_earlier = trainer.args.load_best_model_at_end and trainer.state.best_global_step != step
    if last is None or last["step"] < step or best_is_earlier:
        trainer.evaluate()
        last = card.last_evaluation(trainer.state.log_history)
    if last is not None and not math.isfinite(last["eval_loss"]):
        raise NonFiniteLoss(f"the evaluation loss is {last['eval_loss']}: nothing is saved")


def publish(stage: "Stage", trainer: PoetTrainerMixin) -> None:
    """Writes the finished stage under `unfinished/`, then moves it into place."""
    unfinished = stage.folder / checkpoints.UNFINISHED
    trainer.save_model(str(unfinished), _internal_call=True)  # False would push half a folder
    if not trainer.args.should_save:
        return
    trainer.state.save_to_json(str(unfinished / "trainer_state.json"))
    plots.draw_curves(trainer.state.log_history, unfinished / "curves.png")
    write_card(stage, trainer, unfinished)
    checkpoints.publish(unfinished, stage.folder)
    stage.say(f"saved {stage.folder}")


def write_card(stage: "Stage", trainer: PoetTrainerMixin, folder: Path) -> None:
    """Writes the model card into `folder`."""
    history = trainer.state.log_history
    facts = {
        "stage": stage.name,
        "corpus": stage.data["corpus"],
        "author": stage.options.author,
        "base_model": stage.base_model,
        "parameters": trainer.model.num_parameters(),
        "seconds": card.seconds_trained(history) + card.of_earlier_rounds(stage.folder)[0],
        "device": stage.device,
    }
    kind = kind_of(run_data.load_summary(stage.run_folder), stage.name)
    card.write_card(folder, history, facts, kind, stage.sample_title)


def push(folder: Path, trainer: PoetTrainerMixin) -> None:
    """Pushes the folder to the hub. The library tries again after a temporary fault.

    Raises:
        UserError: the push failed. The message has the command that pushes later.
    """
    try:
        trainer.push_to_hub()
        checkpoints.remember_hub_id(folder, trainer.hub_model_id)
    except Exception as error:
        raise UserError(
            f"the push failed ({first_line(error)}). The folder is complete. To push it later: "
            f"{push_command(folder)}"
        ) from error


def push_command(folder: Path) -> str:
    """Returns the command that pushes a finished stage."""
    return f"`hf upload NAME {folder} --exclude '_*' --exclude 'checkpoint-*'`"
