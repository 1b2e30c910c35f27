"""Forms the three data sets of a run from the sources that data.yaml names.

A corpus of poems is split among the stages. Documents, answers and pairs are not split: all of them
go to every stage that can use them. Every stage then holds out the same ones.

It knows sources, shapes and rows. It does not know files or tokens. build.py writes the sets.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from poet.data import preferences, rows, shapes
from poet.data.items import Source, read_source
from poet.data.options import DataOptions
from poet.data.poems import SPLIT_SEED, Poem, Split, part_ends, split_poems
from poet.data.rows import Pair
from poet.data.run_data import STAGES
from poet.data.shapes import ANSWERS, DOCUMENTS, PAIRS, POEMS
from poet.errors import UserError

_STAGE_NAMES = {"pretrain": "Pretraining", "sft": "Fine-tuning", "dpo": "Alignment"}


@dataclass
class Sets:
    """The rows of each stage, and the facts about them for the summary."""

    sources: dict[str, Source]
    rows: dict[str, tuple[Any, Any]]
    """Stage -> rows to train on and held-out rows, as lists or files."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Stage -> the reason why it has no rows."""
    split: Split | None = None
    """The parts of a corpus of poems."""
    ratio: Sequence[int] = ()
    preference: str = ""
    pairs: list[Pair] = field(default_factory=list)
    identical_pairs: int = 0

    def shape_of(self, stage: str) -> str:
        """Returns the shape of the source that a stage uses."""
        return self.sources.get(stage, common_source(self.sources)).shape

    def leave_out(self, stage: str, reason: str) -> None:
        """Gives the stage no rows."""
        self.left_out[stage] = f"{_STAGE_NAMES[stage]} is left out: {reason}"


def make_sets(options: DataOptions) -> Sets:
    """Returns the rows of the three stages.

    Raises:
        UserError: A source cannot be read, or it has too few items for a stage.
    """
    named = options.sources()
    sources = {key: read_source(name, options) for key, name in named.items()}
    sets = Sets(sources, rows={stage: ([], []) for stage in STAGES})
    common = common_source(sources)
    shared = [stage for stage in STAGES if stage not in sources]
    for stage in STAGES:
        if stage in sources:
            _use_whole(stage, sources[stage], options, sets)
    if "corpus" in sources and common.shape == POEMS:
        _split_among(shared, common, options, sets)
    else:
        for stage in shared:
            _use_whole(stage, common, options, sets)
    return sets


def common_source(sources: dict[str, Source]) -> Source:
    """Returns the source of all stages for which data.yaml names none of their own.

    It is the corpus. Without a corpus, it is the first of `sft`, `dpo` and `pretrain` that exists.
    """
    return next(sources[key] for key in ("corpus", "sft", "dpo", "pretrain") if key in sources)


# --------------------------------------------------------------------------------- whole sources


def _use_whole(stage: str, source: Source, options: DataOptions, sets: Sets) -> None:
    """Gives a stage all items of a source, in random order."""
    rng = random.Random(SPLIT_SEED)
    items: list[Any] = source.items.copy()
    rng.shuffle(items)
    if stage == "dpo" and source.shape == POEMS:
        items, reason = _pairs(items, items, options, rng, sets)
        if reason:
            return sets.leave_out(stage, reason)
    if len(items) < 2:
        raise UserError(
            f"{source.name}: {len(items)} usable text. "
            "At least 2 are needed, because one is held out."
        )
    if (stage, source.shape) not in ROW:
        return sets.leave_out(stage, MISSING[stage])
    make_row = ROW[stage, source.shape]
    train, test = _hold_out_copies_together(items, options.held_out)
    sets.rows[stage] = [make_row(item) for item in train], [make_row(item) for item in test]


def _hold_out_copies_together(items: list[Any], share: float) -> tuple[list[Any], list[Any]]:
    """Splits off the last distinct items, with all their copies. Keeps the order."""
    keys = [item.wording if isinstance(item, Poem) else str(item) for item in items]
    distinct = list(dict.fromkeys(keys))
    if len(distinct) < 2:
        return rows.hold_out(items, share)
    held_out = set(rows.hold_out(distinct, share)[1])
    halves = {
        is_test: [i for i, k in zip(items, keys, strict=True) if (k in held_out) is is_test]
        for is_test in (False, True)
    }
    return halves[False], halves[True]


ROW: dict[tuple[str, str], Any] = {
    ("pretrain", POEMS): lambda poem: {"text": poem.with_title},
    ("pretrain", DOCUMENTS): lambda text: {"text": text},
    ("pretrain", ANSWERS): lambda row: {"text": shapes.text_of(row)},
    ("pretrain", PAIRS): lambda row: {"text": shapes.text_of(row)},
    ("sft", POEMS): rows.sft_row,
    ("sft", ANSWERS): lambda row: row,
    ("sft", PAIRS): lambda row: {"prompt": row["prompt"], "completion": row["chosen"]},
    ("dpo", POEMS): rows.dpo_row,
    ("dpo", PAIRS): lambda row: row,
}
NO_PREFERENCE = (
    "no preference is chosen. Choose one with --preference, or name pairs as --dpo PATH."
)
MISSING = {
    "sft": "the texts have no titles and no prompts. "
    "Give titles, or name rows with prompt and completion as --sft PATH.",
    "dpo": "the rows have no chosen and rejected answers. Name such rows as --dpo PATH.",
}


# ----------------------------------------------------------------------------- a corpus of poems


def split_corpus(options: DataOptions, ratio: Sequence[int] | None = None) -> Split:
    """Returns the parts of a corpus of poems, as `make_sets` split it.

    Args:
        ratio: The ratio in the summary of the run, where a stage may be left out.
    """
    source = read_source(str(options.corpus), options)
    return _split(source.items, ratio or options.split, options)


def _split(poems: Sequence[Poem], ratio: Sequence[int], options: DataOptions) -> Split:
    return split_poems(poems, SPLIT_SEED, ratio, options.keeps_copies_together())


def _split_among(stages: list[str], source: Source, options: DataOptions, sets: Sets) -> None:
    """Splits the poems among `stages`: all stages that have no source of their own."""
    ratio = ratio_of(stages, options)
    if not any(ratio):
        return
    split = _split(source.items, ratio, options)
    reason = ""
    if "dpo" in stages:
        training = [*split.pretrain, *split.sft]
        sets.pairs, reason = _pairs(split.dpo, training, options, split.rng, sets)
    if reason:  # the other stages share the poems
        sets.leave_out("dpo", reason)
        ratio[STAGES.index("dpo")] = 0
        if not any(ratio):
            return
        split = _split(source.items, ratio, options)
    sets.split, sets.ratio = split, ratio
    _check_enough(source, split, ratio)
    if "pretrain" in stages:
        text = rows.pretraining_text(split.pretrain)
        sets.rows["pretrain"] = rows.pretraining_rows(text, options.held_out)
    if "sft" in stages:
        sets.rows["sft"] = rows.hold_out(list(map(rows.sft_row, split.sft)), options.held_out)
    if "dpo" in stages and not reason:
        sets.rows["dpo"] = rows.hold_out(list(map(rows.dpo_row, sets.pairs)), options.held_out)


def ratio_of(stages: Sequence[str], options: DataOptions) -> list[int]:
    """Returns the relative sizes of the three parts of a corpus: 0 for a stage not in `stages`."""
    return [n if stage in stages else 0 for stage, n in zip(STAGES, options.split, strict=True)]


def _check_enough(source: Source, split: Split, ratio: Sequence[int]) -> None:
    """Refuses a corpus with too few poems: each set needs a training row and a held-out row.

    The text of one poem can be cut in two. Two pairs need two preferred poems and one other.
    """

    def are_enough(sizes: Sequence[int]) -> bool:
        needed = (1, 2, 3)
        return all(n >= least for n, least, s in zip(sizes, needed, ratio, strict=True) if s)

    if not are_enough([len(part) for part in split.parts]):
        ends = (part_ends(n, ratio) for n in itertools.count(1))
        sizes = ([b - a for a, b in itertools.pairwise([0, *e])] for e in ends)
        needed = next(sum(parts) for parts in sizes if are_enough(parts))
        count = len(source.items)
        poems = "poem is" if count == 1 else "poems are"
        raise UserError(
            f"{source.name}: {count} usable {poems} too few for {sum(map(bool, ratio))} stages. "
            f"At least {needed} different ones are needed."
        )


def preference_for(poems: Sequence[Poem]) -> str:
    """Returns the preference "auto": five-character for Chinese verse, else none."""
    from poet.prosody.judge import applies

    return "five-character" if applies(poem.text for poem in poems[:1000]) else ""


def _pairs(
    poems: Sequence[Poem],
    training: Sequence[Poem],
    options: DataOptions,
    rng: random.Random,
    sets: Sets,
) -> tuple[list[Pair], str]:
    """Returns pairs of different poems, or the reason why there are fewer than two."""
    sets.preference = options.preference or ""
    if sets.preference == "auto":
        sets.preference = preference_for(poems)
    if not sets.preference:
        return [], NO_PREFERENCE
    prefers = preferences.get(sets.preference, training)
    pairs, sets.identical_pairs = form_pairs(poems, prefers, rng)
    if len(pairs) >= 2:
        return pairs, ""
    if all_pairs := len(pairs) + sets.identical_pairs:
        found = f"{'only 1' if pairs else 'none'} of {all_pairs} pairs has two different poems"
    elif any(map(prefers, poems)):
        found = f"all poems are {sets.preference}"
    else:
        found = f"no poem is {sets.preference}"
    return [], no_pairs(found)


def form_pairs(
    poems: Sequence[Poem], prefers: preferences.Predicate, rng: random.Random
) -> tuple[list[Pair], int]:
    """Returns pairs of a preferred and a random other poem, and how many had two equal texts."""
    preferred: list[Poem] = []
    others: list[Poem] = []
    for poem in poems:
        (preferred if prefers(poem) else others).append(poem)
    pairs = rows.pair_poems(preferred, others, rng)
    # A pair of equal texts teaches nothing: its loss stays at ln 2.
    different = [(chosen, rejected) for chosen, rejected in pairs if chosen.text != rejected.text]
    return different, len(pairs) - len(different)


def no_pairs(found: str) -> str:
    """Returns the reason why alignment is left out."""
    names = ", ".join(preferences.PREFERENCES)
    return f"too few pairs can be formed: {found}. Choose another --preference: {names}."
