"""Aligns the fine-tuned model to poems in lines of five characters, with DPO in three ways.

python book/code/ch09_preference.py
"""

import argparse
import copy
from collections import Counter

import lesson
import torch
from losses import dpo_loss, log_probabilities
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback
from trl import DPOConfig, DPOTrainer

from poet import errors
from poet.data.rows import content
from poet.data.run_data import load_stage
from poet.generation.load import load
from poet.generation.write import write_ids
from poet.text import line_length
from poet.training.progress import silence_libraries

BETA = 0.1
SIDES = ("chosen", "rejected")
WAYS = {
    "pairs": {"loss_type": ["sigmoid"], "learning_rate": 5e-4},
    "sft": {"loss_type": ["sigmoid", "sft"], "learning_rate": 5e-4},
    "stuck": {"loss_type": ["sigmoid"], "learning_rate": 1e-6},
}


@torch.no_grad()
def score(model, tokenizer, rows, side: str) -> tuple[Tensor, Tensor]:
    """Returns the log-probability of each poem and its number of tokens, both (rows,)."""
    ids, in_poem = [], []
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)
        whole = tokenizer.apply_chat_template(row["prompt"] + row[side])["input_ids"]
        ids.append(torch.tensor(whole))
        in_poem.append((torch.arange(len(whole)) >= len(prompt["input_ids"])).long())
    ids = pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
    in_poem = pad_sequence(in_poem, batch_first=True)  # (rows, tokens), like ids
    logits = model(ids, attention_mask=(ids != tokenizer.pad_token_id).long()).logits
    return log_probabilities(logits, ids, in_poem), in_poem.sum(dim=1)


def make_trainer(options: argparse.Namespace, rows, steps: int, **settings) -> DPOTrainer:
    """Returns a trainer for a fresh copy of the fine-tuned model."""
    model, tokenizer = load(options.run / "sft")
    args = DPOConfig(
        output_dir="runs/book/ch09",
        max_steps=steps,
        per_device_train_batch_size=16,
        per_device_eval_batch_size=64,
        beta=BETA,
        warmup_steps=5,
        max_length=128,
        logging_steps=5,
        logging_first_step=True,
        gradient_checkpointing=False,  # it saves memory, which this model does not need
        seed=options.seed,
        **lesson.QUIET,
        **settings,
    )
    trainer = DPOTrainer(
        model,
        ref_model=copy.deepcopy(model),
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["test"],
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def print_log(log: list[dict]) -> None:
    """Prints the columns of the trainer's log that this chapter reads."""
    print("step   loss   chosen   rejected   margin   accuracy")
    for row in log:
        names = ("chosen", "rejected", "margins", "accuracies")
        # Adding 0.0 turns -0.0 into 0.0.
        numbers = [round(row[f"rewards/{name}"], 2) + 0.0 for name in names]
        print(f"{row['step']:4d} {row['loss']:6.3f} ", end="")
        print("{:8.2f} {:10.2f} {:8.2f} {:10.2f}".format(*numbers))


def count_shapes(model, tokenizer, titles: list[str], seed: int) -> Counter:
    """Writes a poem for each title, and counts the poems by their characters per line."""
    shapes: Counter = Counter()
    for ids in write_ids(model, tokenizer, titles, seed=seed):
        length = line_length(tokenizer.decode(ids, skip_special_tokens=True))
        has_end = ids[-1] == tokenizer.eos_token_id
        shapes[length if has_end else "no end mark"] += 1
    return shapes


def held_out_loss(model, tokenizer, rows, length: int) -> float:
    """Returns the loss of the held-out poems with lines of that length, in nats per token."""
    rows = [row for row in rows if line_length(content(row["completion"])) == length]
    log_p, tokens = score(model, tokenizer, rows, "completion")
    return -(log_p.sum() / tokens.sum()).item()


def main() -> None:
    options = lesson.options(__doc__, steps=30, swap=0, figure=0)
    silence_libraries()
    pairs = load_stage(options.run, "dpo")
    if options.swap:
        pairs = pairs.rename_columns({"chosen": "rejected", "rejected": "chosen"})
    held_out = load_stage(options.run, "sft")["test"]
    titles = [content(row["prompt"]) for row in held_out][:64]
    before, tokenizer = load(options.run / "sft")

    lesson.part("pair")
    pair, paths = pairs["test"].select([0]), {"pair": {}}
    print("title:", content(pair[0]["prompt"]))
    for side in ("chosen", "rejected"):
        log_p, tokens = score(before, tokenizer, pair, side)
        print(f"\n{side}: {tokens.item()} tokens, log-probability {log_p.item():.1f}")
        print(content(pair[0][side]))
        paths["pair"][side] = round(log_p.item(), 1)

    models = {"before": before}
    for name, settings in WAYS.items():
        steps = options.steps if name != "stuck" else 10
        trainer = make_trainer(options, pairs, steps, **settings)
        trainer.train()
        models[name] = trainer.model.eval()
        log = [row for row in trainer.state.log_history if "loss" in row]
        paths[name] = [[round(row[f"rewards/{side}"] / BETA, 1) for side in SIDES] for row in log]
        lesson.part(name)
        print_log(log)
        for row in ("chosen", "margins", "accuracies"):
            lesson.keep(**{f"{name}_{row}": log[-1][f"rewards/{row}"]})
        lesson.keep(**{f"{name}_nats": -log[-1]["rewards/chosen"] / BETA})
        if name == "pairs":
            lesson.part("ten lines")
            scores = [
                score(model, tokenizer, pairs["test"], side)[0]
                for model in (trainer.model, before)
                for side in SIDES
            ]  # four times (rows,): log-probabilities under the model, then under the reference
            ours, theirs = dpo_loss(*scores).item(), trainer.evaluate()["eval_loss"]
            print(f"dpo_loss    {ours:.3e}\nDPOTrainer  {theirs:.3e}")

    lesson.part("poems")
    print("              5 per line   7 per line   other   no end   loss of 5   loss of 7")
    for name, model in models.items():
        shapes = count_shapes(model, tokenizer, titles, options.seed)
        losses = {length: held_out_loss(model, tokenizer, held_out, length) for length in (5, 7)}
        counts = [shapes[shape] for shape in (5, 7, None, "no end mark")]
        print(f"{name:12} {counts[0]:11} {counts[1]:12} {counts[2]:7} {counts[3]:8}", end=" ")
        print(f"{losses[5]:11.2f} {losses[7]:11.2f}")
        lesson.keep(**{f"{name}_five": counts[0], f"{name}_seven": counts[1]})
        lesson.keep(**{f"{name}_endless": counts[3]})
        lesson.keep(**{f"{name}_loss_{length}": loss for length, loss in losses.items()})
    lesson.end(options)
    if options.figure:
        data = {"pair": paths.pop("pair"), "beta": BETA, "paths": paths}
        lesson.write_data(__file__, DATA=data)


if __name__ == "__main__":
    errors.run(main)
