"""Turns token ids and rows into poems, splits titles into batches, and copies sampled rows from
the first process to the others.

It knows poems and tokenizers. It does not know models or forms.
"""

from collections.abc import Iterator, Sequence

from accelerate.utils import broadcast_object_list
from transformers import PreTrainedTokenizerFast

from poet import console
from poet.data.poems import Poem
from poet.data.rows import Row

TITLES_PER_BATCH = 64


def poem_from_text(title: str, text: str) -> Poem:
    """Returns the poem whose couplets are the rows of `text`."""
    return Poem(title, tuple(text.split("\n")))


def poem_from_ids(tokenizer: PreTrainedTokenizerFast, title: str, ids: list[int]) -> Poem:
    """Returns the poem that the token ids `ids` spell, without special tokens."""
    return poem_from_text(title, tokenizer.decode(ids, skip_special_tokens=True))


def batches(
    titles: Sequence[str], description: str = "sampling pairs", size: int = TITLES_PER_BATCH
) -> Iterator[tuple[int, list[str]]]:
    """Yields the index of each batch's first title, and the titles of the batch."""
    starts = console.track(range(0, len(titles), size), description)
    for start in starts:
        yield start, list(titles[start : start + size])


def of_first_process(rows: list[Row]) -> list[Row]:
    """Returns the rows of the first process to all processes that train together.

    Rounding may differ between two devices, and so may the poems that they sample. If one process
    had fewer rows, it would end early, and the others would wait for it forever.
    """
    return broadcast_object_list([rows])[0]
