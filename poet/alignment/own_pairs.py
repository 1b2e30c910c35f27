"""A fine-tuned model and titles -> pairs of its own poems, a preferred one against another: on-policy preference pairs.

Pairs of the corpus teach a model to tell poems apart that it would never write; pairs of its own poems teach it which of
those to write (Tajwar et al., arXiv:2404.14367). Knows how to write and how to ask a predicate; trains nothing.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import PartialState
from datasets import Dataset, concatenate_datasets
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerFast, TrainingArguments

from poet.data.corpus import Poem
from poet.data.dataset import Row, dpo_row, sft_row
from poet.data.preferences import Predicate
from poet.errors import UserError
from poet.generation import write
from poet.prosody.forms import FormLogitsProcessor, read_form, regulated_form
from poet.prosody.judge import judge
from poet.text import line_length
from poet.training.checkpoints import (
    arguments_of,
    has_weights,
    is_finished,
    refuse_another,
    round_folder,
)
from poet.training.options import AlignmentArguments, RoundsArguments
from poet_tokenizer import ask

_InRounds = TypeVar("_InRounds", bound=RoundsArguments)

_TITLES_AT_ONCE = 64
_ROWS_AT_ONCE = 256  # where no more is asked of a batch than to be written
_LONGEST = 120  # tokens; a batch takes as long as its longest poem


@dataclass(frozen=True)
class SampledPairs:
    """Rows {"prompt", "chosen", "rejected"}, as `poet.data.dataset` makes them of the corpus, and what gave none."""

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
    for start, some in _batches(titles):
        repeated = [title for title in some for _ in range(per_title)]
        written = write.write_ids(
            model, tokenizer, repeated, seed=seed + start, max_new_tokens=_LONGEST
        )
        for number, title in enumerate(some):
            drawn = written[number * per_title : (number + 1) * per_title]
            # A poem cut off at the last position would be shown to the trainer with an end mark that it never had.
            whole = [ids for ids in drawn if ids[-1:] == [tokenizer.eos_token_id]]
            dropped["poems without an end"] += len(drawn) - len(whole)
            poems = [_written(tokenizer, title, ids) for ids in whole]
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


def corruption_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Poem],
    corruptions: int,
    seed: int,
) -> list[Row]:
    """(poems) -> pairs that differ in a few characters, for those that have the length and lines of a regulated form.

    The preferred side is a new poem of the same title and form, written by the model under the mask that keeps the rules of
    regulated verse (poet/prosody/forms.py). The other is the same with characters that the mask forbids, at the places where the model
    gives these most and as it would have drawn them: what it is taught is where its own next slip would be.

    Args:
        corruptions: characters in which the sides of a pair differ.
    """
    rows = []
    for mask, titles, kept, batch_seed in _write_in_forms(model, tokenizer, poems, seed):
        slipped = _slip(model, tokenizer, titles, kept, mask, corruptions, batch_seed)
        for title, *sides in zip(titles, kept, slipped, strict=True):
            good, bad = (_written(tokenizer, title, ids) for ids in sides)
            if not judge(bad.text).regulated:  # one slip may rescue another
                rows.append(dpo_row((good, bad)))
    return rows


def in_regulated_forms(rows: Dataset, longest: int) -> list[Poem]:
    """The poems of rows {"prompt", "completion"} that have the length and lines of a regulated form, `longest` lines at most.

    Raises:
        UserError: there is none.
    """
    poems = [_poem(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in rows]
    found = [
        poem for poem in poems if 2 * len(poem.couplets) <= longest and regulated_form(poem.text)
    ]
    if not found:
        raise UserError(
            f"none of {len(poems)} poems has the length of regulated verse, 5 or 7 characters a line and 4, 8, 10 or more lines, "
            f"in at most {longest} of them; distillation takes their titles and forms"
        )
    return found


def in_no_form(rows: Dataset, longest: int, count: int) -> Dataset:
    """The first `count` of rows {"prompt", "completion"} whose poem is in old style or has lines of no form, `longest` lines at most."""
    judged = ((number, judge(row["completion"][0]["content"])) for number, row in enumerate(rows))
    found = (
        number for number, judgment in judged if judgment.free and len(judgment.lines) <= longest
    )
    return rows.select(list(islice(found, count)))


def rows_in_forms(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Poem],
    temperature: float,
    seed: int,
    instruction: str | None = None,
) -> list[Row]:
    """(poems) -> {"prompt", "completion"}: for each poem in a regulated form a new one of its title and form, under the mask.

    Args:
        instruction: what is asked for, where it is not a poem for a title (`poet.alignment.themes.INSTRUCTION`).
    """
    settings = {"temperature": temperature, "instruction": instruction}
    found = _write_in_forms(model, tokenizer, poems, seed, _ROWS_AT_ONCE, **settings)
    return [
        sft_row(_written(tokenizer, title, ids), instruction)
        for _, titles, written, _ in found
        for title, ids in zip(titles, written, strict=True)
    ]


def _write_in_forms(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Poem],
    seed: int,
    at_once: int = _TITLES_AT_ONCE,
    **settings,
) -> Iterator[tuple[FormLogitsProcessor, list[str], list[list[int]], int]]:
    """(poems) -> batches of one form: its mask, titles, new poems in tokens, and the seed that drew them."""
    of_form: dict[tuple[str, int], list[str]] = defaultdict(list)
    for poem in poems:
        form = regulated_form(poem.text)
        if form:
            of_form[form, 2 * len(poem.couplets)].append(poem.title)
    for (form, lines), titles in of_form.items():
        request = read_form(form, lines=lines)
        mask = FormLogitsProcessor(tokenizer, request)
        for start, some in _batches(titles, form, at_once):
            written = write.write_ids(
                model,
                tokenizer,
                some,
                seed=seed + start,
                max_new_tokens=request.tokens,
                logits_processor=[mask],
                **settings,
            )
            whole = [
                n for n, ids in enumerate(written) if len(ids) == request.tokens
            ]  # a long title leaves no room
            if whole:
                yield mask, [some[n] for n in whole], [written[n] for n in whole], seed + start


@torch.no_grad()
def _slip(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: list[str],
    written: list[list[int]],
    mask: FormLogitsProcessor,
    corruptions: int,
    seed: int,
) -> list[list[int]]:
    """Poems of one form in tokens -> the same with `corruptions` tokens in each that the mask forbids."""
    prompts = tokenizer.apply_chat_template(
        [ask(title) for title in titles], add_generation_prompt=True
    )["input_ids"]
    whole = [prompt + ids for prompt, ids in zip(prompts, written, strict=True)]
    batch = tokenizer.pad({"input_ids": whole}, padding_side="left", return_tensors="pt").to(
        model.device
    )
    ids, length = batch["input_ids"], len(written[0])
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    logits = (
        model(**batch, position_ids=positions, logits_to_keep=length + 1).logits[:, :-1].float()
    )
    logits /= model.generation_config.temperature or 1.0  # (poems, length, vocabulary)
    logits[..., model.generation_config.suppress_tokens or []] = -torch.inf
    draw = torch.Generator(model.device).manual_seed(seed)
    chances, drawn = [], []
    for place in range(length - 1):  # the last one is the end mark's
        start = ids.shape[1] - length + place
        allowed = mask(ids[:, :start], torch.zeros_like(logits[:, 0])).isfinite()
        forbidden = logits[:, place].softmax(-1).masked_fill(allowed, 0.0)  # (poems, vocabulary)
        forbidden[:, tokenizer.eos_token_id] = (
            0.0  # a poem that ends early is another kind of fault
        )
        chances.append(forbidden.sum(-1))
        drawn.append(torch.multinomial(forbidden + 1e-20, 1, generator=draw).flatten())
    places = torch.multinomial(
        torch.stack(chances, 1) + 1e-20, corruptions, generator=draw
    )  # (poems, corruptions)
    slipped = ids[:, -length:].scatter(1, places, torch.stack(drawn, 1).gather(1, places))
    return slipped.tolist()


def _written(tokenizer: PreTrainedTokenizerFast, title: str, ids: list[int]) -> Poem:
    return _poem(title, tokenizer.decode(ids, skip_special_tokens=True))


def _poem(title: str, text: str) -> Poem:
    return Poem(title, tuple(text.split("\n")))


def _batches(
    titles: Sequence[str], what: str = "sampling pairs", size: int = _TITLES_AT_ONCE
) -> Iterator[tuple[int, list[str]]]:
    """Where a batch starts, and its titles; with a bar where it takes long."""
    for start in tqdm(range(0, len(titles), size), desc=what, unit="batch", leave=False, delay=2):
        yield start, list(titles[start : start + size])


def add_sampled_pairs(
    pairs: Dataset,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    predicate: Predicate,
    arguments: AlignmentArguments,
    seed: int,
    number: int,
) -> Dataset:
    """The corpus's pairs, unless they are not wanted, and those of the model's own poems for some of their titles.

    Preferred is what the predicate says and is well formed besides: a poem of the corpus always is.

    Args:
        number: of the round, from 0. Each has its own titles, as long as there are some.
    """
    poems = {row["prompt"][0]["content"]: row["chosen"][0]["content"] for row in pairs}
    titles = list(poems)
    first = number * arguments.sampled_titles % len(titles)
    titles = (titles[first:] + titles[:first])[: arguments.sampled_titles]
    if arguments.corruptions:
        patterns = [_poem(title, poems[title]) for title in titles]
        rows = corruption_pairs(model, tokenizer, patterns, arguments.corruptions, seed + number)
    else:
        sampled = sample_pairs(
            model,
            tokenizer,
            titles,
            lambda poem: line_length(poem.text) is not None and predicate(poem),
            arguments.samples_per_title,
            seed + number,
        )
        _say(f"the model's own poems: {sampled.preferred:,} of {sampled.poems:,} are preferred")
        rows = sampled.rows
    kept = pairs if arguments.corpus_pairs else pairs.select([])
    _say(f"{len(rows):,} pairs of the model's own poems beside {len(kept):,} of the corpus")
    if not rows and not len(kept):
        raise UserError(
            f"no pair could be made of the model's poems for {arguments.sampled_titles} titles; raise sampled_titles, "
            "or set corpus_pairs"
        )
    return (
        concatenate_datasets([kept, Dataset.from_list(rows, features=pairs.features)])
        if rows
        else kept
    )


def _say(what: str) -> None:
    if PartialState().is_main_process:
        print(what, flush=True)


def rounds(
    stage_args: _InRounds, args: TrainingArguments
) -> Iterator[tuple[_InRounds, TrainingArguments, int]]:
    """The options -> those of each round and its number: it starts from the model that the round before has left.

    The last one writes OUTPUT_DIR, the others OUTPUT_DIR-round-1, OUTPUT_DIR-round-2 … beside it, and it alone is pushed. Where
    it is finished the others are not made again.

    Raises:
        UserError: OUTPUT_DIR holds a run of another number of rounds, or a finished one whose other rounds were deleted.
    """
    output, start = args.output_dir, stage_args.model_name_or_path
    there = arguments_of(Path(output)).get("rounds", stage_args.rounds)
    refuse_another(Path(output), {"rounds": there}, {"rounds": stage_args.rounds})
    finished = is_finished(Path(output)) and stage_args.rounds > 1
    if finished and not has_weights(round_folder(output, stage_args.rounds - 1)):
        raise UserError(
            f"{output} is finished and the rounds before its last are gone, so that nothing can be made of it; pass another --output_dir"
        )
    for number in range(stage_args.rounds):
        own_stage_args, own_args = copy.copy(stage_args), copy.copy(args)
        own_stage_args.model_name_or_path = start
        if stage_args.minutes is not None:
            own_stage_args.minutes = stage_args.minutes / stage_args.rounds
        if number and stage_args.later_steps:
            own_args.max_steps = stage_args.later_steps
        if number < stage_args.rounds - 1:
            own_args.output_dir, own_args.push_to_hub = str(round_folder(output, number + 1)), False
        if not finished or number == stage_args.rounds - 1:
            yield own_stage_args, own_args, number
        start = own_args.output_dir
