"""Blocks: pretraining text cut into pieces of one length.

It knows token ids. It does not know models. A block may start in the middle of one poem and end in
another. Each token attends to all tokens before it in the block, as in TutorialLLM, the original
tutorial.
"""

from collections.abc import Iterable

import datasets
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from poet.data.rows import POEM_SEPARATOR
from poet.errors import UserError
from poet_tokenizer import encode_text


def encode_rows(
    rows: Iterable[dict[str, str]] | datasets.Dataset, tokenizer: PreTrainedTokenizerFast
) -> list[int]:
    """Returns the ids of all texts of a set as one sequence, with a blank line between poems."""
    texts = rows[:]["text"] if isinstance(rows, datasets.Dataset) else [row["text"] for row in rows]
    return encode_text(tokenizer, POEM_SEPARATOR.join(texts))


class Blocks(torch.utils.data.Dataset):
    """Training rows of `input_ids` and `labels`, both of shape (length,).

    Each epoch shifts the cuts, so that the blocks differ between epochs. The shift depends only on
    seed and epoch, so a resumed run trains on the same blocks.

    Args:
        ids: The whole text, of shape (tokens,).
        min_blocks: The number of blocks that an epoch needs at least, for example for one batch.
    """

    def __init__(self, ids: list[int], length: int, seed: int, min_blocks: int = 1):
        blocks = min_blocks + 1  # the shift can cost one
        if len(ids) < blocks * length:
            option = " or per_device_train_batch_size" if min_blocks > 1 else ""
            raise UserError(
                f"the text has {len(ids):,} tokens. Training needs {blocks * length:,}: "
                f"{blocks} blocks of {length}. Add poems, or lower n_positions{option}."
            )
        self.ids, self.length, self.seed = torch.tensor(ids), length, seed
        # In shared memory, because a worker process that outlives an epoch has a copy of this set.
        self._shift = torch.zeros((), dtype=torch.int64).share_memory_()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
        self._shift.copy_(torch.randint(self.length, (), generator=generator))

    def __len__(self) -> int:
        return len(self.ids) // self.length - 1  # equal for every shift

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        start = int(self._shift) + index * self.length
        block = self.ids[start : start + self.length]
        return {"input_ids": block, "labels": block}


def eval_blocks(ids: list[int], length: int) -> datasets.Dataset:
    """Cuts held-out text into blocks from its first token on. Drops an incomplete last block."""
    length = min(length, len(ids))
    return datasets.Dataset.from_dict(_cut(ids, length))


def stream_blocks(
    rows: datasets.IterableDataset, tokenizer: PreTrainedTokenizerFast, length: int
) -> datasets.IterableDataset:
    """Returns an endless stream of blocks, encoded while the model trains.

    The stream repeats the text and never ends an epoch. A resumed run therefore finds its position
    even after several passes.
    """

    return rows.map(
        _encode,
        batched=True,
        batch_size=1000,
        remove_columns=["text"],
        fn_kwargs={"tokenizer": tokenizer, "length": length},
    ).repeat(None)


def _encode(
    batch: dict[str, list[str]], tokenizer: PreTrainedTokenizerFast, length: int
) -> dict[str, list[list[int]]]:
    """Returns the blocks of a batch.

    It is a function of the module, because worker processes cannot unpickle an inner function.
    """
    text = "".join(text + POEM_SEPARATOR for text in batch["text"])
    return _cut(encode_text(tokenizer, text), length)


def _cut(ids: list[int], length: int) -> dict[str, list[list[int]]]:
    blocks = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    return {"input_ids": blocks, "labels": blocks}
