"""What happens beside training: the model's verse is shown and kept, Ctrl-C ends at a whole checkpoint.

Knows Trainer's events; changes neither losses nor the random numbers that training draws.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainerCallback

from poet import device
from poet.files import write_text
from poet.generation.write import write


class ShowSample(TrainerCallback):
    """At each evaluation the model writes; what it wrote is printed beside the losses and kept in samples.jsonl.

    A line there is {"step", "prompt", "text", "eval_loss"}, and "reference" where a second model writes beside it.
    """

    def __init__(self, prompt: str, write: Callable[[], dict[str, str]], path: Path):
        self.prompt, self.write, self.path = prompt, write, path

    def on_train_begin(self, args, state, control, **kwargs):
        """Forgets what a killed run showed after the checkpoint that this one goes on from."""
        if state.is_world_process_zero and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [
                line for line in lines if line.endswith("\n")
            ]  # a power cut may leave half a line
            # From step 0 on, that of `eval_on_start` is shown again.
            kept = [
                line
                for line in whole
                if state.global_step and json.loads(line)["step"] <= state.global_step
            ]
            write_text(self.path, "".join(kept))

    def on_evaluate(self, args, state, control, metrics, model, **kwargs):
        # A sharded model writes by all its processes together, or not at all.
        if (
            not state.is_world_process_zero
            or args.fsdp
            or os.environ.get("ACCELERATE_USE_FSDP") == "true"
        ):
            return
        # Dropout draws from the same generator.
        with device.undisturbed_random_numbers(args.device), torch.no_grad():
            written = self.write()
        loss = metrics["eval_loss"]
        record = {"step": state.global_step, "prompt": self.prompt, **written, "eval_loss": loss}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        train = next((log["loss"] for log in reversed(state.log_history) if "loss" in log), None)
        heading = f"step {state.global_step}" + (
            f", train loss {train:.4f}" if train is not None else ""
        )
        heading += f", eval loss {loss:.4f}"
        if "eval_rewards/margins" in metrics:
            heading += f", reward margin {metrics['eval_rewards/margins']:.3f}"
        tqdm.write("\n".join(["", heading, *_columns(written)]))


def show_sample(
    title: str, seed: int, path: Path, tokenizer: PreTrainedTokenizerFast, **models: PreTrainedModel
) -> ShowSample:
    """Shows what each of `models`, "text" and maybe "reference", writes for a title with the same seed."""
    return ShowSample(
        title,
        lambda: {
            name: write(model, tokenizer, title, seed=seed)[0] for name, model in models.items()
        },
        path,
    )


def _columns(written: dict[str, str]) -> list[str]:
    """One text as it is, two side by side: the aligned model's beside its reference's."""
    if "reference" not in written:
        return ["  " + line for line in written["text"].splitlines()]
    left, right = written["text"].splitlines(), written["reference"].splitlines()
    width = max([len("aligned"), *(2 * len(line) for line in left)]) + 4
    rows = ["  " + "aligned".ljust(width) + "reference"]
    for i in range(max(len(left), len(right))):
        a, b = (lines[i] if i < len(lines) else "" for lines in (left, right))
        rows.append("  " + a + " " * (width - 2 * len(a)) + b)
    return rows


class SetEpoch(TrainerCallback):
    """Says the epoch to the training set and to what draws its rows, each of which has an order of its own in every epoch.

    accelerate looks for them one wrapping deep, and where an epoch is gone on with, or where processes share it, there are more.
    """

    def on_epoch_begin(self, args, state, control, train_dataloader, **kwargs):
        batches = train_dataloader.batch_sampler
        while hasattr(batches, "batch_sampler"):
            batches = batches.batch_sampler
        for each in (train_dataloader.dataset, getattr(batches, "sampler", None)):
            if hasattr(each, "set_epoch"):
                each.set_epoch(int(state.epoch))


class StopOnSignal(TrainerCallback):
    """The first Ctrl-C (or SIGTERM) ends training at the next step with a checkpoint to go on from; a second one at once."""

    def __init__(self):
        self.asked = False

    def on_train_begin(self, args, state, control, **kwargs):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number, frame):
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        tqdm.write("\nstopping after this step, with a checkpoint (once more: at once)")

    def on_step_end(self, args, state, control, **kwargs):
        if (
            args.world_size > 1
        ):  # the signal reaches processes in different steps, and all have to stop behind the same
            asked = torch.tensor(float(self.asked), device=args.device)
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
            self.asked = bool(asked)
        if self.asked:
            control.should_save = control.should_training_stop = True
        return control

    def on_epoch_end(self, args, state, control, **kwargs):
        """Where the epoch has not ended, what an ended one asks for is left out: the checkpoint is written already."""
        if self.asked and abs(state.epoch - round(state.epoch)) > 1e-6:
            control.should_evaluate = control.should_save = control.should_log = False
        return control

    def on_train_end(self, args, state, control, **kwargs):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class WarnOfEqualRewards(TrainerCallback):
    """Says once, where all poems of each title earn the same, that such a step of reinforcement teaches nothing."""

    def __init__(self):
        self.said = False

    def on_log(self, args, state, control, logs, **kwargs):
        if logs.get("frac_reward_zero_std") == 1 and not self.said and state.is_world_process_zero:
            self.said = True
            tqdm.write(
                f"step {state.global_step}: all poems of a title earn the same, for every title, so nothing is learned here; if it "
                "stays so, raise num_generations, or add a reward that tells them apart"
            )


class RefuseWrongReference(TrainerCallback):
    """Before the first step policy and reference are one model: rewards are 0 and DPO's loss is ln 2.

    Anything else means that the reference is another model than the one that training starts from.
    """

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        margin = abs(metrics["eval_rewards/margins"]) + abs(metrics["eval_rewards/chosen"])
        if state.global_step == 0 and margin > 1e-3:
            raise RuntimeError(
                f"the reference is not the model that training starts from: rewards {margin:.4f}, not 0"
            )
