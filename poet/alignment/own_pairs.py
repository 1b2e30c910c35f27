"""Makes pairs of a model's own poems for one title: a preferred poem and a rejected one.

A pair of the corpus compares two poems that this model would rarely write. A pair of its own poems
compares two poems that it does write (on-policy pairs: Tajwar et al., arXiv:2404.14367).

It knows how to write poems and how to apply a preference. It does not train.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet import extension
from poet.alignment.corruptions import corruption_pairs
from poet.alignment.poems import batches, of_first_process, poem_from_ids, poem_from_text
from poet.data import preferences, run_data
from poet.data.poems import Poem
from poet.data.preferences import Predicate
from poet.data.rows import Row, content, dpo_row
from poet.errors import UserError
from poet.generation import write
from poet.text import line_length

_MAX_NEW_TOKENS = 120  # a batch takes the time of its longest poem


@dataclass(frozen=True)
class SampledPairs:
    """Pairs of a model's own poems, and counts of what was sampled and dropped."""

    rows: list[Row]
    """Rows {"prompt", "chosen", "rejected"}, in the format of `poet.data.rows`."""
    poems: int
    """Number of poems that reached their end mark."""
    preferred: int
    """Number of these that the predicate prefers."""
    dropped: dict[str, int]
    """Number of poems, pairs and titles that were dropped, by reason."""


def sample_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: Sequence[str],
    preferred: Predicate,
    per_title: int,
    seed: int,
) -> SampledPairs:
    """Samples `per_title` poems for each title, and pairs the preferred poems with the others.

    Each poem is in one pair at most. If three of eight poems are preferred, there are three pairs.
    The poems are sampled with the generation defaults of the checkpoint. The pairs are in the order
    of the titles. The same seed gives the same pairs.

    Args:
        preferred: The preference.
        per_title: Number of poems per title, at least two.

    Raises:
        UserError: A title is too long, so that no room is left.
    """
    rows: list[Row] = []
    counts = Counter[str]()
    dropped = Counter[str]()
    for start, batch in batches(titles):
        repeated = [title for title in batch for _ in range(per_title)]
        written = write.write_ids(
            model, tokenizer, repeated, seed=seed + start, max_new_tokens=_MAX_NEW_TOKENS
        )
        for number, title in enumerate(batch):
            samples = written[number * per_title : (number + 1) * per_title]
            # The trainer would add an end mark to a poem that was cut off.
            whole = [ids for ids in samples if ids[-1:] == [tokenizer.eos_token_id]]
            dropped["poems without an end"] += len(samples) - len(whole)
            poems = [poem_from_ids(tokenizer, title, ids) for ids in whole]
            chosen: list[Poem] = []
            rejected: list[Poem] = []
            for poem in poems:
                (chosen if preferred(poem) else rejected).append(poem)
            counts["poems"] += len(poems)
            counts["preferred"] += len(chosen)
            if not chosen:
                dropped["titles without a preferred poem"] += 1
            elif not rejected:
                dropped["titles with nothing but preferred poems"] += 1
            for pair in zip(chosen, rejected, strict=False):
                if pair[0].text == pair[1].text:  # nothing to learn: the loss stays ln 2
                    dropped["pairs of one text"] += 1
                else:
                    rows.append(dpo_row(pair))
    reasons = {reason: count for reason, count in dropped.items() if count}
    return SampledPairs(rows, counts["poems"], counts["preferred"], reasons)


def add_sampled_pairs(
    pairs: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    predicate: Predicate,
    *,
    sampled_titles: int,
    corruptions: int,
    seed: int,
    samples_per_title: int = 4,
) -> Dataset:
    """Adds pairs of the model's own poems to the pairs of the corpus, for some of their titles.

    A sampled poem is preferred if the predicate prefers it and it is well formed
    (`poet.text.line_length`).

    Args:
        sampled_titles: Number of titles for which the model writes.
        corruptions: Above 0, the pairs are poems and their corrupted copies
            (`poet.alignment.corruptions`). They replace the pairs of the corpus.
        samples_per_title: Number of poems per title. It has no effect with `corruptions`.

    Raises:
        UserError: No pair is left to train on.
    """
    poems = {content(row["prompt"]): content(row["chosen"]) for row in pairs}
    titles = list(poems)[:sampled_titles]
    if corruptions:
        patterns = [poem_from_text(title, poems[title]) for title in titles]
        rows = corruption_pairs(model, tokenizer, patterns, corruptions, seed)
    else:
        sampled = sample_pairs(
            model,
            tokenizer,
            titles,
            lambda poem: line_length(poem.text) is not None and predicate(poem),
            samples_per_title,
            seed,
        )
        _print_once(
            f"the model's own poems: {sampled.preferred:,} of {sampled.poems:,} are preferred"
        )
        rows = sampled.rows
    rows = of_first_process(rows)
    kept = pairs.select([]) if corruptions else pairs
    _print_once(f"pairs: {len(rows):,} of the model's own poems, {len(kept):,} of the corpus")
    if not rows and not len(kept):
        raise UserError(
            f"the model's poems for {sampled_titles} titles gave no pair. Raise sampled_titles."
        )
    if not rows:
        return kept
    return concatenate_datasets([kept, Dataset.from_list(rows, features=pairs.features)])


def preference_of(run: str | Path) -> Predicate:
    """Returns the preference that the pairs of the run were made with.

    Raises:
        UserError: There is none, or it is a function that is not found or has changed since.
    """
    summary = run_data.load_summary(run)
    name, own = summary["made_from"]["preference"], summary.get("own_preference")
    name = summary.get("preference", name)  # instead of "auto"
    if not name:
        raise UserError(
            f"the pairs in {run} come without a preference, which sampled_titles needs. Set "
            "sampled_titles to 0, or make the data with --preference."
        )
    if own and extension.describe(name, "preference", own["folder"])["code"] != own["code"]:
        raise UserError(
            f"the preference {name} has changed since the data in {run} were made. "
            "Make the data again in another folder, or undo the change."
        )
    return preferences.get(name, run_data.training_poems(run), (own or {}).get("folder"))


def _print_once(message: str) -> None:
    if PartialState().is_main_process:
        print(message, flush=True)
