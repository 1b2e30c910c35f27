"""A fine-tuned model and titles -> pairs of its own poems, a preferred one against another: on-policy preference pairs.

Pairs of the corpus teach a model to tell poems apart that it would never write; pairs of its own poems teach it which of
those to write (Tajwar et al., arXiv:2404.14367). Knows how to write and how to ask a predicate; trains nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset, concatenate_datasets
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet import preferences, write
from poet.arguments import AlignmentArguments
from poet.corpus import Poem
from poet.dataset import Row, dpo_row
from poet.preferences import Predicate
from poet.prosody import line_length

_TITLES_AT_ONCE = 64
_LONGEST = 120  # tokens; a batch takes as long as its longest poem


@dataclass(frozen=True)
class SampledPairs:
    """Rows {"prompt", "chosen", "rejected"}, as `poet.dataset` makes them of the corpus, and what gave none."""

    rows: list[Row]
    poems: int
    """How many were written to their end."""
    preferred: int
    """How many of them the predicate preferred."""
    dropped: dict[str, int]
    """Reason -> how many: poems without an end, pairs of one text, titles without a pair."""


def sample_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: Sequence[str],
    preferred: Predicate,
    per_title: int,
    seed: int,
) -> SampledPairs:
    """(titles) -> pairs of poems for the same title, in the order of the titles; the same seed gives the same pairs.

    Each poem stands in one pair at most: of eight, three of them preferred, three pairs are made. The poems are drawn by
    the checkpoint's own generation defaults.

    Args:
        per_title: poems written for each title, at least two.

    Raises:
        UserError: a title so long that no room is left for a poem.
    """
    rows: list[Row] = []
    counts = Counter[str]()
    dropped = Counter[str]()
    starts = range(0, len(titles), _TITLES_AT_ONCE)
    for start in tqdm(starts, desc="sampling pairs", unit="batch", leave=False, delay=2):
        some = titles[start : start + _TITLES_AT_ONCE]
        repeated = [title for title in some for _ in range(per_title)]
        written = write.write_ids(model, tokenizer, repeated, seed=seed + start, max_new_tokens=_LONGEST)
        for number, title in enumerate(some):
            drawn = written[number * per_title : (number + 1) * per_title]
            # A poem cut off at the last position would be shown to the trainer with an end mark that it never had.
            whole = [ids for ids in drawn if ids[-1:] == [tokenizer.eos_token_id]]
            dropped["poems without an end"] += len(drawn) - len(whole)
            texts = tokenizer.batch_decode(whole, skip_special_tokens=True)
            poems = [Poem(title, tuple(text.split("\n"))) for text in texts]
            chosen: list[Poem] = []
            rejected: list[Poem] = []
            for poem in poems:
                (chosen if preferred(poem) else rejected).append(poem)
            counts.update(poems=len(poems), preferred=len(chosen))
            if not chosen:
                dropped["titles without a preferred poem"] += 1
            elif not rejected:
                dropped["titles with nothing but preferred poems"] += 1
            for pair in zip(chosen, rejected, strict=False):
                if pair[0].text == pair[1].text:  # their loss stays ln 2
                    dropped["pairs of one text"] += 1
                else:
                    rows.append(dpo_row(pair))
    return SampledPairs(rows, counts["poems"], counts["preferred"], dict(+dropped))


def add_sampled_pairs(
    pairs: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    preference: str,
    arguments: AlignmentArguments,
    seed: int,
) -> Dataset:
    """The corpus's pairs and those of the model's own poems for the first of their titles.

    Preferred is what the preference names and is well formed besides: a poem of the corpus always is.
    """
    predicate = preferences.get(preference)
    titles = list(dict.fromkeys(row[0]["content"] for row in pairs["prompt"]))[: arguments.sampled_titles]
    sampled = sample_pairs(
        model,
        tokenizer,
        titles,
        lambda poem: line_length(poem.text) is not None and predicate(poem),
        arguments.samples_per_title,
        seed,
    )
    print(
        f"the model's own poems: {sampled.preferred:,} of {sampled.poems:,} are preferred, which makes "
        f"{len(sampled.rows):,} pairs beside the corpus's {len(pairs):,}",
        flush=True,
    )
    if not sampled.rows:
        return pairs
    return concatenate_datasets([pairs, Dataset.from_list(sampled.rows, features=pairs.features)])
