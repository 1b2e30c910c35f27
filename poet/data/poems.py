"""Poems: reading a corpus, dropping unusable poems, splitting the others into three parts.

It knows what a poem is. It does not know file formats, rows or tokens.
"""

import bisect
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from poet.errors import UserError

SPLIT_SEED = 2024  # the split of the original tutorial
_NO_COUPLETS = "without couplets"
_HALF_A_CHARACTER = "with half a character (a lone surrogate)"
_ADVICE = {  # for each reason to drop a poem that no option can relax
    _NO_COUPLETS: "Check the columns and the layout of the file.",
    _HALF_A_CHARACTER: "Correct these characters.",
}


@dataclass(frozen=True, slots=True)
class Poem:
    """A title and couplets. A couplet is one row of the corpus: two lines and their marks."""

    title: str
    couplets: tuple[str, ...]
    author: str = ""

    @property
    def text(self) -> str:
        """The poem without its title, one couplet per row."""
        return "\n".join(self.couplets)

    @property
    def with_title(self) -> str:
        """The poem below its title, as pretraining reads it."""
        return f"{self.title}\n{self.text}"

    @property
    def wording(self) -> str:
        """The characters of the text without marks. Poems with the same wording are copies."""
        return re.sub(r"\W", "", self.text)


@dataclass(frozen=True)
class Corpus:
    """The usable poems of a corpus, and how many poems were read and dropped."""

    poems: list[Poem]
    read: int
    dropped: dict[str, int]
    """Reason -> number of poems, the most frequent reason first."""
    notes: list[str] = field(default_factory=list)
    """What the readers found, in sentences: layouts, columns and files that were not read."""


def read_corpus(
    source: str,
    columns: dict[str, str | None] | None = None,
    min_couplets: int = 1,
    equal_couplets: bool = False,
    forbidden: str = "",
) -> Corpus:
    """Reads every poem of a corpus and drops the unusable ones. Keeps the order of the files.

    Without options, only poems without couplets are dropped. `DataOptions` has the rules of the
    original tutorial.

    Args:
        source: See `DataOptions.corpus`.
        columns: Names of the columns "title", "lines" and "author".
        min_couplets: Drops shorter poems.
        equal_couplets: Drops poems with couplets of several lengths.
        forbidden: Drops poems with one of these characters.

    Raises:
        UserError: The source is missing, empty or broken, lacks a column, or has no usable poem.
    """
    from poet.data.sources import Found, read_fields  # the file formats and their many errors

    dropped, found = Counter[str](), Found()
    fields = read_fields(source, columns or {}, found)
    poems = list(usable_poems(fields, dropped, min_couplets, equal_couplets, forbidden))
    read = len(poems) + dropped.total()
    if not poems:
        refuse_unusable(source, dropped)
    return Corpus(poems, read, dict(dropped.most_common()), found.notes())


def usable_poems(
    records: Iterable[dict[str, Any]],
    dropped: Counter[str],
    min_couplets: int,
    equal_couplets: bool,
    forbidden: str,
) -> Iterator[Poem]:
    """Yields the usable poems, and counts the others in `dropped` by reason."""
    for fields in records:
        poem = Poem(**fields)
        reason = _reason_to_drop(poem, min_couplets, equal_couplets, forbidden)
        if reason:
            dropped[reason] += 1
        else:
            yield poem


def refuse_unusable(source: str, dropped: Counter[str]) -> NoReturn:
    """Raises the UserError for a corpus without a usable poem, with advice for the main reason."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
    main = max(dropped, key=lambda reason: dropped[reason], default=_NO_COUPLETS)
    relax = "Try --min_couplets 1 --equal_couplets false --forbidden '', or check the columns."
    raise UserError(
        f"{source} has no usable poem. Dropped: {reasons or 'none'}. {_ADVICE.get(main, relax)}"
    )


def _reason_to_drop(
    poem: Poem, min_couplets: int, equal_couplets: bool, forbidden: str
) -> str | None:
    if not poem.couplets:
        return _NO_COUPLETS
    if len(poem.couplets) < min_couplets:
        return f"with fewer than {min_couplets} couplets"
    if equal_couplets and len(set(map(len, poem.couplets))) > 1:
        return "with couplets of different lengths"
    characters = poem.title + poem.text
    for character in forbidden:
        if character in characters:
            return f"with {character}"
    if re.search("[\ud800-\udfff]", characters):  # in JSON, "\ud840" is one
        return _HALF_A_CHARACTER
    return None


@dataclass(frozen=True)
class Split:
    """The three parts of a corpus, and the random generator that shuffled it.

    The pairs for alignment continue with this generator.
    """

    pretrain: list[Poem]
    sft: list[Poem]
    dpo: list[Poem]
    rng: random.Random

    @property
    def parts(self) -> tuple[list[Poem], list[Poem], list[Poem]]:
        return self.pretrain, self.sft, self.dpo

    def copies(self) -> dict[str, int]:
        """Counts the poems that have a copy, and the poems with a copy in another part."""
        parts_of: dict[str, list[int]] = {}
        for number, part in enumerate(self.parts):
            for poem in part:
                parts_of.setdefault(poem.wording, []).append(number)
        copied = [numbers for numbers in parts_of.values() if len(numbers) > 1]
        across = [numbers for numbers in copied if len(set(numbers)) > 1]
        return {"poems": sum(map(len, copied)), "across_parts": sum(map(len, across))}


def split_poems(
    poems: Sequence[Poem], seed: int, ratio: Sequence[int], copies_together: bool
) -> Split:
    """Shuffles the poems and cuts them into three parts.

    The seed `SPLIT_SEED` and the ratio 5:3:2 give the split of the original tutorial.

    Args:
        ratio: Relative sizes of the parts.
        copies_together: Keeps all copies of a poem in one part. The original tutorial does not,
            and evaluates its models on some poems that they were trained on.
    """
    groups: list[list[Poem]] = [[poem] for poem in poems]
    if copies_together:
        by_wording: dict[str, list[Poem]] = {}
        for poem in poems:
            by_wording.setdefault(poem.wording, []).append(poem)
        groups = list(by_wording.values())
    rng = random.Random(seed)
    rng.shuffle(groups)

    parts: list[list[Poem]] = [[], [], []]
    ends = part_ends(len(poems), ratio)
    placed = 0
    for group in groups:
        parts[bisect.bisect_right(ends, placed)] += group
        placed += len(group)
    return Split(parts[0], parts[1], parts[2], rng)


def part_ends(poems: int, ratio: Sequence[int]) -> list[int]:
    """Returns the index at which each part ends. The last one equals `poems`."""
    return [poems * share // sum(ratio) for share in itertools.accumulate(ratio)]
