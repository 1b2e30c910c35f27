"""Pretraining text -> packed blocks of one length.

Knows sequences of ids; knows nothing of models. Blocks run on across the poems: a block may begin in the middle of one
poem and end in another, and attends to all that stands before in it, as in the tutorial.
"""

from collections.abc import Iterable

import datasets
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from poet.data.rows import POEM_SEPARATOR
from poet.errors import UserError
from poet_tokenizer import encode_text


class Blocks(torch.utils.data.Dataset):
    """(tokens) -> rows of `input_ids` and `labels`, (length,) each, cut anew at a shifted place in every epoch.

    The shift depends on seed and epoch alone, so a resumed run sees the blocks that it would have seen.

    Args:
        least: blocks that an epoch must have, such as those of a step.
    """

    def __init__(self, ids: list[int], length: int, seed: int, least: int = 1):
        needed = (least + 1) * length  # a shift costs up to one
        if len(ids) < needed:
            raise UserError(
                f"the text has {len(ids):,} tokens, fewer than the {needed:,} of {least + 1} blocks of {length}; "
                f"add poems or lower n_positions{' or per_device_train_batch_size' if least > 1 else ''}"
            )
        self.ids, self.length, self.seed = torch.tensor(ids), length, seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        self.shift = int(torch.randint(self.length, (1,), generator=generator))

    def __len__(self) -> int:
        return len(self.ids) // self.length - 1  # the same in every epoch, whatever the shift

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        start = self.shift + index * self.length
        block = self.ids[start : start + self.length]
        return {"input_ids": block, "labels": block}


def eval_blocks(ids: list[int], length: int) -> datasets.Dataset:
    """(tokens) -> a `Dataset` of blocks one after another, from the first token on; a last part of a block is left out."""
    length = min(length, len(ids))
    rows = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    return datasets.Dataset.from_dict({"input_ids": rows, "labels": rows})


def stream_blocks(
    rows: datasets.IterableDataset, tokenizer: PreTrainedTokenizerFast, length: int
) -> datasets.IterableDataset:
    """An `IterableDataset` of texts -> one of blocks without an end, read and encoded while training goes on.

    The end of a text is for a stream no end of an epoch, so that a resumed run finds its place after many passes too.
    """

    def pack(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = encode_text(tokenizer, "".join(text + POEM_SEPARATOR for text in batch["text"]))
        blocks = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
        return {"input_ids": blocks, "labels": blocks}

    return rows.map(pack, batched=True, batch_size=1000, remove_columns=["text"]).repeat(None)


def encode_rows(
    rows: Iterable[dict[str, str]] | datasets.Dataset, tokenizer: PreTrainedTokenizerFast
) -> list[int]:
    """All texts of a set as one sequence of tokens, a blank line between two poems."""
    texts = rows[:]["text"] if isinstance(rows, datasets.Dataset) else [row["text"] for row in rows]
    return encode_text(tokenizer, POEM_SEPARATOR.join(texts))
