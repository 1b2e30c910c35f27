"""Rewards the fine-tuned model for its own poems, with GRPO and four rewards.

python book/code/ch10_reward.py
"""

import argparse
import logging
import re
from statistics import mean

import lesson
import torch
from losses import advantages
from torch import Tensor
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from poet import errors
from poet.alignment import masked_poems
from poet.alignment.distillation import MaskedTeacher
from poet.alignment.rewards import regulated
from poet.data.rows import content
from poet.data.run_data import load_stage
from poet.generation.load import load
from poet.generation.write import write
from poet.text import HAN, line_length, poem_lines
from poet.training.progress import silence_libraries

# ---------------------------------------------------------------- rewards: a poem becomes a number


def five(poem: str) -> float:
    """Returns 1 for a well-formed poem with five characters in every line, and otherwise 0."""
    return float(line_length(poem) == 5)


def moon(poem: str) -> float:
    """Returns the share of the lines that contain 月 (moon)."""
    lines = poem_lines(poem)
    return sum("月" in line for line in lines) / max(1, len(lines))


def for_trl(reward, factor: float = 1):
    """Returns the reward as GRPOTrainer calls it: with many poems at once, as chat messages."""

    def rewards(completions, **columns) -> list[float]:
        return [factor * reward(content(messages)) for messages in completions]

    rewards.__name__ = reward.__name__
    return rewards


def title_length(prompts, **columns) -> list[float]:
    """Returns the length of each title. This is a mistake: the poem does not count."""
    return [float(len(content(messages))) for messages in prompts]


# ---------------------------------------------------------------------------------------- training


def make_trainer(options: argparse.Namespace, titles, reward, steps: int) -> GRPOTrainer:
    """Returns a trainer for a fresh copy of the fine-tuned model."""
    model, tokenizer = load(options.run / "sft")
    args = GRPOConfig(
        output_dir="runs/book/ch10",
        max_steps=steps,
        num_generations=8,  # poems per title: one group
        per_device_train_batch_size=64,  # so eight titles per step
        max_completion_length=80,
        generation_kwargs={"suppress_tokens": model.generation_config.suppress_tokens},
        learning_rate=3e-4,
        beta=0.0,
        logging_steps=1,
        gradient_checkpointing=False,
        seed=options.seed,
        **lesson.QUIET,  # no reports, no checkpoints
    )
    trainer = GRPOTrainer(
        model, reward_funcs=reward, args=args, train_dataset=titles, processing_class=tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def print_log(log: list[dict], every: int) -> None:
    """Prints the columns of the trainer's log that this chapter reads."""
    print("step   reward   equal groups   size of the gradient")
    for row in log:
        if row["step"] == 1 or row["step"] % every == 0:
            print(
                f"{row['step']:4d} {row['reward']:8.3f} {row['frac_reward_zero_std']:14.2f} "
                f"{row['grad_norm']:22.4f}"
            )


# ------------------------------------------------------------------------------------ distillation


@torch.no_grad()
def forbidden(model, tokenizer, row) -> Tensor:
    """Returns the probability that the model gives to forbidden characters: (tokens of the poem,).

    The teacher is the same model under the mask of regulated verse. It gives them 0.
    """
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
    whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]
    ids = torch.tensor([whole])  # (1, tokens)
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    teacher, _ = MaskedTeacher(model, tokenizer)(ids, torch.ones_like(ids), labels)
    student = model(ids).logits[0, len(prompt) - 1 : -1].softmax(-1)  # like teacher: (tokens, V)
    return (student * (teacher == 0)).sum(-1)


def main() -> None:
    options = lesson.options(__doc__, steps=20, factor=1, figure=0)
    silence_libraries()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    rows = load_stage(options.run, "sft")
    model, tokenizer = load(options.run / "sft")

    lesson.part("group")
    title = content(rows["test"][0]["prompt"])
    poems = write(model, tokenizer, [title] * 8, seed=options.seed)
    rewards = torch.tensor([[five(poem) for poem in poems]])  # (1, 8): one title, eight poems
    print("title:", title)
    print("reward   advantage   characters in each line of the poem")
    for poem, reward, advantage in zip(poems, rewards[0], advantages(rewards)[0], strict=True):
        lengths = " ".join(str(len(line)) for line in poem_lines(poem))
        print(f"{reward:6.0f} {advantage:11.2f}   {lengths}")

    for reward, steps in (
        (for_trl(five, options.factor), options.steps),
        (for_trl(moon), options.steps),
        (for_trl(regulated), 3),
        (title_length, 3),
    ):
        trainer = make_trainer(options, rows["train"], reward, steps)
        trainer.train()
        log = [row for row in trainer.state.log_history if "reward" in row]
        name = reward.__name__
        lesson.part(name)
        print_log(log, every=max(1, steps // 5))
        rewards = [row["reward"] for row in log]
        lesson.keep(**{f"{name}_first": mean(rewards[:3]), f"{name}_last": mean(rewards[-3:])})
        if name == "moon":
            lesson.part("moon poem")
            poem = write(trainer.model, tokenizer, title, seed=options.seed)[0]
            print(HAN.sub(lambda run: re.sub("[^月]", "＿", run[0]), poem))

    lesson.part("teacher")
    forms = masked_poems.in_regulated_forms(rows["train"])
    forms = [poem for poem in forms if len(poem.text) == 51][:32]  # eight lines of five characters
    samples = masked_poems.rows_in_forms(model, tokenizer, forms, seed=options.seed)
    shares = torch.stack([forbidden(model, tokenizer, row) for row in samples])  # (32, 52)
    couplets = shares.mean(0).view(4, 13)[:, :12]  # without the line break after each couplet
    print("couplet  " + "".join(f"{place:>6}" for place in [*range(1, 6), ",", *range(1, 6), "."]))
    for number, couplet in enumerate(couplets, 1):
        print(f"{number:7}  " + "".join(f"{share:6.2f}" for share in couplet))
    lesson.keep(rhyme=couplets[1:, 10].mean())
    lesson.end(options)
    if options.figure:
        lesson.write_data(__file__, DATA={"title": title, "poems": poems})


if __name__ == "__main__":
    errors.run(main)
