"""Rows: poems in the shape that each training stage needs.

It knows the rows of pretraining, fine-tuning and alignment. It does not know files or tokens.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from poet.data.poems import Poem
from poet_tokenizer import Message, ask

POEM_SEPARATOR = "\n\n"

Items = TypeVar("Items", str, list[Any])
Row = dict[str, Any]
Pair = tuple[Poem, Poem]  # preferred, rejected


# ------------------------------------------------------------------------------------ pretraining


def pretraining_text(poems: Sequence[Poem]) -> str:
    """Joins poems into one text. Each starts with its title; a blank line separates two poems."""
    return POEM_SEPARATOR.join(poem.with_title for poem in poems)


def split_title(text: str) -> tuple[str, str]:
    """Splits the text of a poem into its title, which is the first line, and the poem."""
    title, _, poem = text.partition("\n")
    return title, poem


def pretraining_rows(text: str, held_out: float) -> tuple[list[Row], list[Row]]:
    """Cuts a text into a training part and a held-out part, with one poem per row.

    As in the original tutorial, the text is cut by characters. The poem at the cut begins in the
    first part and ends in the second. `POEM_SEPARATOR` joins the rows of a part to
    exactly its text.
    """
    train, test = hold_out(text, held_out)
    return _text_rows(train), _text_rows(test)


def _text_rows(text: str) -> list[Row]:
    return [{"text": poem} for poem in text.split(POEM_SEPARATOR)]


# ------------------------------------------------------------------------------------ fine-tuning


def sft_row(poem: Poem, instruction: str | None = None) -> Row:
    """Returns a row whose prompt asks for a poem by its title. The completion is the poem.

    Args:
        instruction: Replaces the instruction of the tokenizer's chat template.
    """
    return {"prompt": ask(poem.title, instruction), "completion": [_answer(poem)]}


def _answer(poem: Poem) -> Message:
    return {"role": "assistant", "content": poem.text}


def content(messages: Sequence[Message]) -> str:
    """Returns the text of the last message: the title of a prompt, or the poem of an answer."""
    return messages[-1]["content"]


# -------------------------------------------------------------------------------------- alignment


def pair_poems(preferred: Sequence[Poem], others: Sequence[Poem], rng: random.Random) -> list[Pair]:
    """Pairs each preferred poem with a random other poem. Returns [] without other poems.

    The original tutorial continues with the generator that shuffled the corpus.
    """
    return [(poem, rng.choice(others)) for poem in preferred if others]


def dpo_row(pair: Pair) -> Row:
    """Returns a row in which both poems answer the title of the preferred poem.

    The original tutorial gives the rejected poem its own title. The two sides then answer
    different prompts, and the difference of their log-probabilities is not a preference.
    """
    chosen, rejected = pair
    return {
        "prompt": ask(chosen.title),
        "chosen": [_answer(chosen)],
        "rejected": [_answer(rejected)],
    }


# ---------------------------------------------------------------------------------------- all sets


def hold_out(items: Items, share: float) -> tuple[Items, Items]:
    """Splits off the last `share` for evaluation. With two items or more, no part is empty."""
    cut = int((1 - share) * len(items))
    cut = min(max(cut, 1), len(items) - 1)
    return items[:cut], items[cut:]


def training_texts(
    pretraining: Iterable[Row], fine_tuning: Iterable[Row], has_titles: bool = True
) -> Iterator[str]:
    """Yields the poems in the rows of pretraining and fine-tuning, without their titles."""
    for row in pretraining:
        yield split_title(row["text"])[1] if has_titles else row["text"]
    for row in fine_tuning:
        yield content(row["completion"])
