"""Lets a model write poems in the forms of regulated verse, under the mask of each form.

A mask sets the probability of some tokens to zero. The mask of a form forbids every character that
would break a rule of length, tone or rhyme. So each poem keeps all rules.

It knows forms and how to write. It does not know what the poems are for.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet.alignment.poems import (
    TITLES_PER_BATCH,
    batches,
    of_first_process,
    poem_from_ids,
    poem_from_text,
)
from poet.data.poems import Poem
from poet.data.rows import Row, content, sft_row
from poet.errors import UserError
from poet.generation import write
from poet.prosody.judge import judge
from poet.prosody.mask import FormLogitsProcessor
from poet.prosody.request import read_form, regulated_form

THEME_FRACTION = 0.25
"""Fraction of prompts that are themes. Without them a model forgets to use the words of a theme."""
_OLD_STYLE = 0.3  # per written poem; without old style the held-out loss rises twice as much
MAX_LINES = 12  # longer poems are rare, and each length is a form of its own
_ROWS_PER_BATCH = 256  # more than for pairs: these batches are written and not scored again


def in_regulated_forms(rows: Dataset, max_lines: int = MAX_LINES) -> list[Poem]:
    """Returns the poems that have the line length and the number of lines of a regulated form.

    Tones and rhyme are not looked at, because the model writes new poems in these forms.

    Args:
        rows: Rows with the columns "prompt" and "completion".
        max_lines: Longer poems are left out.

    Raises:
        UserError: There is no such poem.
    """
    poems = [poem_from_text(content(row["prompt"]), content(row["completion"])) for row in rows]
    regulated = [
        poem for poem in poems if 2 * len(poem.couplets) <= max_lines and regulated_form(poem.text)
    ]
    if not regulated:
        raise UserError(
            f"none of the {len(poems)} poems has 5 or 7 characters per line and 4, 8 or 10 to "
            f"{max_lines} lines. Distillation needs such poems. Use another corpus."
        )
    return regulated


def in_no_form(rows: Dataset, written: int, max_lines: int = MAX_LINES) -> Dataset:
    """Returns the first rows whose poem is in old style (gutishi) or has irregular lines.

    Args:
        rows: Rows with the columns "prompt" and "completion".
        written: Number of poems in regulated forms. For each ten of them, three rows are returned.
        max_lines: Longer poems are left out.
    """

    def numbers() -> Iterator[int]:
        for number, row in enumerate(rows):
            judgment = judge(content(row["completion"]))
            if judgment.free and len(judgment.lines) <= max_lines:
                yield number

    return rows.select(list(islice(numbers(), round(_OLD_STYLE * written))))


def rows_in_forms(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Poem],
    seed: int,
    instruction: str | None = None,
) -> list[Row]:
    """Writes a new poem for each of `poems` that has a regulated form.

    The new poem has the same title and the same form.

    Args:
        instruction: The start of the prompt, if the "titles" are themes
            (`poet.alignment.themes.instruction`).

    Returns:
        Rows {"prompt", "completion"}, form by form.
    """
    written = write_in_forms(
        model,
        tokenizer,
        poems,
        seed,
        titles_per_batch=_ROWS_PER_BATCH,
        temperature=1.0,  # at the checkpoint's 0.8 the poems are less varied
        instruction=instruction,
    )
    rows = [
        sft_row(poem_from_ids(tokenizer, title, ids), instruction)
        for _, titles, batch, _ in written
        for title, ids in zip(titles, batch, strict=True)
    ]
    return of_first_process(rows)


def write_in_forms(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Poem],
    seed: int,
    titles_per_batch: int = TITLES_PER_BATCH,
    **settings: Any,
) -> Iterator[tuple[FormLogitsProcessor, list[str], list[list[int]], int]]:
    """Yields batches of new poems: the mask of the form, the titles, the token ids and the seed.

    All poems of a batch have one form. The titles and the forms are those of `poems`. Poems
    without a regulated form are skipped.

    Args:
        settings: Settings for `poet.generation.write.write_ids`.
    """
    titles_of_form: dict[tuple[str, int], list[str]] = defaultdict(list)
    for poem in poems:
        form = regulated_form(poem.text)
        if form:
            titles_of_form[form, 2 * len(poem.couplets)].append(poem.title)
    for (form, lines), titles in titles_of_form.items():
        request = read_form(form, lines=lines)
        mask = FormLogitsProcessor(tokenizer, request)
        for start, batch in batches(titles, form, titles_per_batch):
            batch_seed = seed + start
            poems_ids = write.write_ids(
                model,
                tokenizer,
                batch,
                seed=batch_seed,
                max_new_tokens=request.tokens,
                logits_processor=[mask],
                **settings,
            )
            # A long title may leave too little room: its poem is cut off, and dropped here.
            whole = [n for n, ids in enumerate(poems_ids) if len(ids) == request.tokens]
            if whole:
                yield mask, [batch[n] for n in whole], [poems_ids[n] for n in whole], batch_seed
