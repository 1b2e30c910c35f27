"""A checkpoint and held-out poems -> figures: how likely it finds them, and what its own verse is like.

Knows checkpoints and data folders; trains nothing. Rates are over all poems asked for.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from poet import dataset, write
from poet.prosody import line_length

TITLE_LIMIT = 40  # characters; longer titles are prefaces


@torch.inference_mode()
def poem_loss(model, tokenizer, rows, batch_size: int = 32) -> float:
    """Nats a character of the poems and their end marks, given the prompts of their titles."""
    pairs = []
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)["input_ids"]
        whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]
        pairs.append((len(prompt), whole[: model.config.n_positions]))
    pairs.sort(key=lambda pair: len(pair[1]))
    total, count = 0.0, 0
    for start in range(0, len(pairs), batch_size):
        batch = pairs[start : start + batch_size]
        width = max(len(ids) for _, ids in batch)
        ids = torch.tensor([ids + [tokenizer.pad_token_id] * (width - len(ids)) for _, ids in batch])  # (B, T)
        labels = ids[:, 1:].clone()
        for i, (prompt_length, row_ids) in enumerate(batch):
            labels[i, : prompt_length - 1] = -100
            labels[i, len(row_ids) - 1 :] = -100
        logits = model(input_ids=ids).logits[:, :-1].float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").item()
        count += int(labels.ne(-100).sum())
    return total / count


def rates(poems: list[str]) -> dict[str, Any]:
    """What a list of poems is like: rates of form, and how varied it is (distinct-n: Li et al., arXiv:1510.03055)."""
    lengths = [line_length(poem) for poem in poems]
    lines = [line for poem in poems for line in poem.split("\n")]
    characters = "".join(lines)
    pairs = [line[i : i + 2] for line in lines for i in range(len(line) - 1)]
    row = {
        "poems": len(poems),
        "well_formed": sum(length is not None for length in lengths) / len(poems),
        "five_character": sum(length == 5 for length in lengths) / len(poems),
        "distinct_first_lines": len({poem.split("\n")[0] for poem in poems}) / len(poems),
        "repeated_lines": sum(count - 1 for count in Counter(lines).values()) / len(lines),
        "distinct_1": len(set(characters)) / len(characters),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
    }
    of_poems = ("well_formed", "five_character", "distinct_first_lines")
    return {**row, "interval": {key: wilson(row[key], len(poems)) for key in of_poems}}


def wilson(rate: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate among n (Wilson, JASA 22, 1927)."""
    z = 1.96
    middle, half = rate + z * z / (2 * n), z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def evaluate(run: Path, titles: int = 200, seed: int = 0) -> dict[str, dict[str, Any]]:
    """The rows "sft", "dpo" and "poets" of a run, for the same held-out titles."""
    held_out = list(dataset.load_stage(run, "sft")["test"])
    five = [row for row in held_out if line_length(row["completion"][0]["content"]) == 5]
    chosen = [row for row in held_out if len(row["prompt"][0]["content"]) <= TITLE_LIMIT]
    random.Random(seed).shuffle(chosen)
    chosen = chosen[:titles]
    rows = {"poets": rates([row["completion"][0]["content"] for row in chosen])}
    for stage in ("sft", "dpo"):
        model, tokenizer = write.load(run / stage)
        poems = write.write_poems(model, tokenizer, [row["prompt"][0]["content"] for row in chosen], seed=seed)
        rows[stage] = {**rates(poems), "poem_loss": poem_loss(model, tokenizer, held_out)}
        if five:
            rows[stage]["poem_loss_five_character"] = poem_loss(model, tokenizer, five)
    return rows
