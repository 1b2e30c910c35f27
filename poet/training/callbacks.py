"""Callbacks of training: a sample at each evaluation, an orderly stop at Ctrl-C, three checks.

They change neither losses nor the random numbers that training draws.
"""

import json
from typing import TYPE_CHECKING

import torch
from rich.cells import cell_len
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)

from poet import console, device, interrupts
from poet.errors import UserError
from poet.files import write_text
from poet.generation.write import continue_texts, write
from poet.text import visible

if TYPE_CHECKING:
    from poet.training.stage import Stage


LOSSES = {"loss": "train loss", "sampled_loss": "sampled loss"}


class ShowSample(TrainerCallback):
    """Lets the model write at each evaluation, prints the poem, and keeps it in samples.jsonl.

    A line of that file is {"step", "prompt", "text", "eval_loss"}, and "reference" in alignment.

    Args:
        models: `text` is the model in training. In alignment, `reference` is the reference model.
    """

    def __init__(
        self, stage: "Stage", tokenizer: PreTrainedTokenizerBase, **models: PreTrainedModel
    ):
        self.stage, self.tokenizer, self.models = stage, tokenizer, models
        self.path, self.prompt = stage.samples, stage.sample_title

    def on_train_begin(self, args, state, control, **kwargs):
        """Drops samples of a killed run that are later than the checkpoint it resumes from."""
        if state.is_world_process_zero and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]  # a power cut may leave half
            step = state.global_step  # 0 if nothing is resumed: no sample is kept
            kept = [line for line in whole if step and json.loads(line)["step"] <= step]
            write_text(self.path, "".join(kept))

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        if not state.is_world_process_zero:
            return
        # Dropout draws from the same generator.
        with device.undisturbed_random_numbers(args.device), torch.no_grad():
            texts = {name: self._write(model, args.seed) for name, model in self.models.items()}
        loss = metrics["eval_loss"]
        sample = {"step": state.global_step, "prompt": self.prompt, **texts, "eval_loss": loss}
        earlier = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        write_text(self.path, f"{earlier}{json.dumps(sample, ensure_ascii=False)}\n")
        facts = [f"step {state.global_step} of {state.max_steps}"]
        for log in reversed(state.log_history):
            if kinds := LOSSES.keys() & log.keys():
                facts += [f"{LOSSES[key]} {log[key]:.4f}" for key in kinds]
                break
        facts.append(f"held-out loss {loss:.4f}")
        if "eval_rewards/margins" in metrics:
            facts.append(f"reward margin {metrics['eval_rewards/margins']:.3f}")
        printed = "\n".join(["", "  ".join(facts), *_indent(self.prompt), *side_by_side(texts)])
        console.stdout().print(visible(printed))

    def _write(self, model: PreTrainedModel, seed: int) -> str:
        plain = self.stage.options.plain
        if self.stage.name == "pretrain":  # a pretrained model knows no titles
            return continue_texts(model, self.tokenizer, [self.prompt], seed=seed)[0]
        return write(model, self.tokenizer, self.prompt, seed=seed, plain=plain)[0]


def _indent(text: str) -> list[str]:
    return ["  " + line for line in text.splitlines()]


def side_by_side(texts: dict[str, str]) -> list[str]:
    """Returns the lines of one text, or of two texts side by side."""
    if "reference" not in texts:
        return _indent(texts["text"])
    left, right = texts["text"].splitlines(), texts["reference"].splitlines()
    width = max(map(cell_len, ["aligned", *left])) + 4  # a Chinese character takes two columns
    rows = ["  " + "aligned".ljust(width) + "reference"]
    for i in range(max(len(left), len(right))):
        a, b = (lines[i] if i < len(lines) else "" for lines in (left, right))
        rows.append("  " + a + " " * (width - cell_len(a)) + b)
    return rows


class SetEpoch(TrainerCallback):
    """Sets the epoch of the training set and its sampler, so that each epoch has its own order.

    accelerate unwraps a data loader only once. A resumed loader has several wrappers, and so has a
    loader in one of several processes.
    """

    def on_epoch_begin(self, args, state, control, train_dataloader, **kwargs):
        batches = train_dataloader.batch_sampler
        while hasattr(batches, "batch_sampler"):
            batches = batches.batch_sampler
        for ordered in (train_dataloader.dataset, getattr(batches, "sampler", None)):
            if hasattr(ordered, "set_epoch"):
                ordered.set_epoch(int(state.epoch))


class StopOnSignal(TrainerCallback):
    """Stops at the end of the step after Ctrl-C or SIGTERM, with a checkpoint to resume from.

    A signal during the first step stops training at once, because this step compiles and has
    nothing to save. If an evaluation is due at the stop, the resumed run does it.
    """

    def __init__(self):
        self.requested = False

    def on_step_end(self, args, state, control, **kwargs):
        self.requested |= interrupts.release()
        if args.world_size > 1:  # processes get the signal in different steps and must agree
            requested = torch.tensor(float(self.requested), device=args.device)
            torch.distributed.all_reduce(requested, torch.distributed.ReduceOp.MAX)
            self.requested = bool(requested)
        if self.requested:
            # Without its measure, this checkpoint could never be the best one.
            control.should_save = not (control.should_evaluate and args.metric_for_best_model)
            control.should_training_stop, control.should_evaluate = True, False
        if not control.should_training_stop:  # held until the next step has ended
            interrupts.hold("stopping after this step, with a checkpoint")
        return control

    def on_epoch_end(self, args, state, control, **kwargs):
        """Skips Trainer's work at the end of an epoch: the step before has saved everything."""
        if self.requested:
            control.should_evaluate = control.should_save = control.should_log = False
        return control


def owes_evaluation(args: TrainingArguments, state: TrainerState) -> bool:
    """Returns whether a stopped run left out the evaluation at its last step."""
    last = next((log for log in reversed(state.log_history) if "eval_loss" in log), {"step": 0})
    is_due = {
        "steps": state.global_step % max(1, state.eval_steps) == 0,
        "epoch": state.epoch == int(state.epoch or 0),
    }
    return is_due.get(args.eval_strategy.value, False) and last["step"] < state.global_step


def has_own_metric(args: TrainingArguments) -> bool:
    """Returns whether `metric_for_best_model` chooses anything but the loss."""
    return args.metric_for_best_model not in (None, "loss", "eval_loss")


class CheckBestMetric(TrainerCallback):
    """Checks at the first evaluation that it gives the result `metric_for_best_model`.

    Trainer notices a wrong name only later, with a KeyError.
    """

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        name = args.metric_for_best_model
        if has_own_metric(args) and f"eval_{name.removeprefix('eval_')}" not in metrics:
            names = sorted(each.removeprefix("eval_") for each in metrics if "eval_" in each)
            raise UserError(
                f"metric_for_best_model {name} is not a result of an evaluation. Choose one of "
                f"{', '.join(names)}."
            )


class WarnOfEqualRewards(TrainerCallback):
    """Warns once where all poems of each title earn the same reward: nothing is learned then."""

    def __init__(self):
        self.has_warned = False

    def on_log(self, args, state, control, logs, **kwargs):
        is_equal = logs.get("frac_reward_zero_std") == 1
        if is_equal and not self.has_warned and state.is_world_process_zero:
            self.has_warned = True
            console.stdout().print(
                f"step {state.global_step}: for each title, all poems earn the same reward. "
                "Nothing is learned in such a step. If it stays so, raise num_generations, or add "
                "a reward that differs between poems."
            )


class RefuseWrongReference(TrainerCallback):
    """Checks that policy and reference are one model before the first step of DPO.

    All rewards are then 0 and the loss is ln 2.
    """

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        rewards = abs(metrics["eval_rewards/margins"]) + abs(metrics["eval_rewards/chosen"])
        if state.global_step == 0 and rewards > 1e-3:
            raise RuntimeError(
                f"the reference is not the model that training starts from: the rewards are "
                f"{rewards:.4f}, not 0"
            )
