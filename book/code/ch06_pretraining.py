"""Pretrains a small GPT-2 with transformers.Trainer, stops half-way, and resumes.

python book/code/ch06_pretraining.py
"""

import json
import math
import tempfile
from pathlib import Path
from typing import NamedTuple

import lesson
import samples
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
    logging,
    set_seed,
)

from poet import errors
from poet.data import blocks
from poet.data.run_data import load_stage, make_tokenizer
from poet.training import progress
from poet.training.callbacks import SetEpoch

LENGTH = 128  # tokens per block


class Text(NamedTuple):
    """Training blocks, held-out blocks, the size of the vocabulary, and the id of the end mark."""

    vocabulary: int
    end: int
    train: torch.utils.data.Dataset
    test: torch.utils.data.Dataset


class StopAt(TrainerCallback):
    """Ends training early and leaves a checkpoint behind, as Ctrl-C does in the scripts."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


def load_text(run: Path, seed: int) -> Text:
    """Returns the poems of a run as blocks of `LENGTH` tokens."""
    rows, tokenizer = load_stage(run, "pretrain"), make_tokenizer(run, LENGTH)
    train = blocks.Blocks(blocks.encode_rows(rows["train"], tokenizer), LENGTH, seed)
    test = blocks.eval_blocks(blocks.encode_rows(rows["test"], tokenizer), LENGTH)
    return Text(len(tokenizer), tokenizer.eos_token_id, train, test)


def make_model(text: Text, seed: int) -> GPT2LMHeadModel:
    """Returns a GPT-2 of the size of the recipe `sample`, with random weights."""
    set_seed(seed)
    sizes = {"n_positions": LENGTH, "n_embd": 128, "n_layer": 3, "n_head": 4}
    ids = {"bos_token_id": text.end, "eos_token_id": text.end}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=text.vocabulary, **sizes, **ids, **dropout))
    model.loss_type = "ForCausalLM"  # see "A loss that is slightly too low" on the page
    return model


def make_trainer(model, text: Text, steps: int, folder: str, seed: int, *callbacks) -> Trainer:
    """Returns a trainer that logs, evaluates and saves in a folder."""
    args = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=16,
        learning_rate=3e-3,
        warmup_steps=10,  # the learning rate rises for ten steps, and then falls to zero
        lr_scheduler_type="linear",
        seed=seed,
        logging_steps=max(1, steps // 8),
        logging_first_step=True,
        eval_strategy="steps",
        eval_steps=max(1, steps // 4),
        eval_on_start=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=text.train,
        eval_dataset=text.test,
        data_collator=default_data_collator,
        callbacks=[SetEpoch, *callbacks],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def losses(history: list[dict], name: str) -> dict[int, float]:
    """Returns the values that a log has under a name, by step."""
    return {row["step"]: row[name] for row in history if name in row}


def show_curve(history: list[dict], part: str) -> None:
    """Prints the losses of a log. The train loss is a mean since the row above."""
    train, test = losses(history, "loss"), losses(history, "eval_loss")
    lesson.part(part)
    print("step   train  held out")
    for step in sorted({*train, *test}):
        columns = [f"{each[step]:.3f}" if step in each else "" for each in (train, test)]
        print(f"{step:4} {columns[0]:>7} {columns[1]:>9}".rstrip())


def show_first_losses(text: Text, folder: str, seed: int) -> None:
    """Prints the loss of random weights: the right one, and the lower one that Trainer reports."""
    model = make_model(text, seed)
    right = make_trainer(model, text, 1, folder, seed).evaluate()["eval_loss"]
    model.loss_type = None  # as the library leaves it for a GPT-2
    low = make_trainer(model, text, 1, folder, seed).evaluate()["eval_loss"]
    lesson.part("first losses")
    print(f"ln({text.vocabulary:,})                      {math.log(text.vocabulary):.3f}")
    print(f"random weights               {right:.3f}")
    print(f"the same, as Trainer has it  {low:.3f}, which is {low / right:.5f} of it")
    print(f"127 / 128                                     {127 / 128:.5f}")
    lesson.keep(uniform=math.log(text.vocabulary), vocabulary=text.vocabulary)
    lesson.keep(right=right, low=low, ratio=low / right)


def train_and_resume(text: Text, steps: int, folder: str, seed: int) -> None:
    """Trains without a stop, then with one, and compares."""
    whole = make_trainer(make_model(text, seed), text, steps, f"{folder}/whole", seed)
    whole.train()
    history = whole.state.log_history
    show_curve(history, "curve")
    lesson.keep(last=losses(history, "eval_loss")[steps], first=losses(history, "loss")[1])

    half = steps // 2
    stopped = make_trainer(
        make_model(text, seed), text, steps, f"{folder}/stopped", seed, StopAt(half)
    )
    stopped.train()
    checkpoint = Path(folder, "stopped", f"checkpoint-{half}")
    lesson.part("checkpoint")
    for file in sorted(checkpoint.iterdir()):
        print(f"{file.stat().st_size / 1e6:6.3f} MB  {file.name}")

    other = make_model(text, seed + 1)  # other weights: all comes from the checkpoint
    resumed = make_trainer(other, text, steps, f"{folder}/stopped", seed)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    before, after = (losses(t.state.log_history, "loss") for t in (whole, resumed))
    lesson.part("resumed")
    print("step  without a stop   resumed")
    for step in before:
        if step > half:
            print(f"{step:4} {before[step]:15.6f} {after[step]:9.6f}")
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    difference = max((a - b).abs().max().item() for a, b in pairs)
    print(f"largest difference between two weights: {difference:.7f}")
    lesson.keep(difference=difference)


def overfit(text: Text, steps: int, folder: str, seed: int) -> None:
    """Trains on the same four blocks in each step."""
    few = text._replace(train=torch.utils.data.Subset(text.train, range(4)))
    trainer = make_trainer(make_model(few, seed), few, steps, folder, seed)
    trainer.train()
    show_curve(trainer.state.log_history, "overfitting")
    held_out = losses(trainer.state.log_history, "eval_loss")
    lesson.keep(overfit_last=held_out[steps], overfit_best=min(held_out.values()))


def show_run(run: Path) -> None:
    """Prints the log and the samples of the run that `make run` made."""
    state = json.loads((run / "pretrain" / "trainer_state.json").read_text(encoding="utf-8"))
    history = state["log_history"]
    show_curve(history, "run")
    lesson.part("samples")
    for sample in samples.read(run / "pretrain"):
        if sample["step"] % 100 == 0:
            print(f"step {sample['step']}")
            for line, gloss in sample["lines"]:
                print(f"    {line}{'　' * (13 - len(line))}{gloss}".rstrip("　 "))
    train, test = losses(history, "loss"), losses(history, "eval_loss")
    last = max(test)
    lesson.keep(run_first=test[0], run_hundred=test[100], run_last=test[last])
    lesson.keep(run_train=train[last], passes=losses(history, "epoch")[last])


def main() -> None:
    chosen = lesson.options(__doc__, steps=40)
    progress.silence_libraries()
    logging.set_verbosity_error()
    text = load_text(chosen.run, chosen.seed)
    blocks_per_pass = len(text.train)
    lesson.part("text")
    print(f"{blocks_per_pass} blocks to learn from, {len(text.test)} held-out blocks")
    lesson.keep(blocks=blocks_per_pass, steps_per_pass=blocks_per_pass // 16)
    with tempfile.TemporaryDirectory() as folder:
        show_first_losses(text, folder, chosen.seed)
        train_and_resume(text, chosen.steps, folder, chosen.seed)
        overfit(text, 2 * chosen.steps, f"{folder}/few", chosen.seed)
    show_run(chosen.run)
    lesson.end(chosen)


if __name__ == "__main__":
    errors.run(main)
