"""Theme words in place of a title: what a poem is about, in words of its own; and whether a poem speaks of given words.

Knows which words the poems of a corpus share; knows nothing of models. There is no dictionary. A word of two characters is what stands
together more often than by chance where the metre parts a line (five characters go 2-1-2 or 2-2-1, seven have two more before them:
Wang Li 王力, 詩詞格律, 4.2); a word of one is what several such words end in, as 明月, 秋月 and 江月 end in 月.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from math import log

from datasets import Dataset

from poet.data.corpus import Poem
from poet.text import poem_lines
from poet_tokenizer import ask

INSTRUCTION = "請用以下主題寫一首詩"
GUIDANCE = (
    2.0  # without it three times fewer of the words are used; at 2.5 fewer poems keep to a form
)
_MOST_WORDS = 3  # of a theme
_BEYOND_CHANCE = 1.5  # nats
_WORDS_OF_ONE = 3  # that end in a character which is a word by itself
_KIN = 5
_EMPTY_WORDS = frozenset(
    "不無未莫非有在是爲為此彼其所何誰孰豈可能得應須將欲已猶尚亦又還更自相與之而於乃今一"
)  # 虛字


class Lexicon:
    """The words that may be a theme: they stand in at least three of the poems, and in one of a thousand.

    Args:
        poems: texts, of poems that train.
    """

    def __init__(self, poems: Sequence[str]):
        self.poems = poems
        pairs = [list(_pairs(poem)) for poem in poems]
        together = Counter(chain.from_iterable(pairs))
        self.holders = Counter(chain.from_iterable(map(set, [*pairs, *poems])))
        first, second = Counter[str](), Counter[str]()
        for pair, n in together.items():
            first[pair[0]] += n
            second[pair[1]] += n
        total, least = together.total(), max(3, len(poems) // 1000)
        self.words = {
            pair
            for pair, n in together.items()
            if self.holders[pair] >= least
            and log(n * total / (first[pair[0]] * second[pair[1]])) > _BEYOND_CHANCE
            if _EMPTY_WORDS.isdisjoint(pair)
        }
        ends = Counter(pair[1] for pair in self.words)
        self.words |= {character for character, n in ends.items() if n >= _WORDS_OF_ONE}

    def words_of(self, poem: str) -> list[str]:
        """The poem's words, in its order."""
        verse = _verse(poem)
        return sorted(
            {*_pairs(poem), *verse} & self.words, key=lambda word: (verse.index(word), word)
        )

    def theme(self, poem: str, draw: random.Random) -> str | None:
        """One to three words of a poem with blanks between them, rare ones rather than common ones; None where it has none."""
        words, theme = self.words_of(poem), list[str]()
        for _ in range(draw.randint(1, _MOST_WORDS)):
            free = [word for word in words if set(word).isdisjoint("".join(theme))]
            if free:
                theme += draw.choices(free, [1 / self.holders[word] for word in free])
        return " ".join(theme) or None

    def kin(self, words: Iterable[str]) -> dict[str, set[str]]:
        """Word -> the five that keep company with it most: that share poems with it beyond chance (Church and Hanks 1990).

        Weighed by how often they do, else the rarest of all words would be everybody's nearest.
        """
        company = {word: Counter[str]() for word in words}
        for poem in self.poems:
            found = [word for word in company if word in poem]
            others = self.words_of(poem) if found else []
            for word in found:
                company[word].update(others)
        return {word: self._nearest(word, others) for word, others in company.items()}

    def _nearest(self, word: str, others: Counter[str]) -> set[str]:
        by_chance = max(1, self.holders[word]) / len(self.poems)
        gains = {
            other: shared * log(shared / (by_chance * self.holders[other]))
            for other, shared in others.items()
            if set(other).isdisjoint(word)
        }
        return set(sorted(gains, key=lambda other: (-gains[other], other))[:_KIN])


def part_by_theme(poems: Sequence[Poem], share: float, seed: int) -> tuple[list[Poem], list[Poem]]:
    """Poems -> those that keep their title, and about a `share` of them with words of theirs in its place."""
    drawn = list(zip(poems, _drawn([poem.text for poem in poems], share, seed), strict=True))
    titled = [poem for poem, theme in drawn if theme is None]
    return titled, [replace(poem, title=theme) for poem, theme in drawn if theme is not None]


def ask_by_theme(rows: Dataset, share: float, seed: int) -> Dataset:
    """(prompt, completion) -> the same rows, of which about a `share` has words of its poem for a prompt in place of the title."""
    columns = {name: rows[name][:] for name in rows.column_names}
    drawn = _drawn([completion[0]["content"] for completion in columns["completion"]], share, seed)
    columns["prompt"] = [
        prompt if theme is None else ask(theme, INSTRUCTION)
        for prompt, theme in zip(columns["prompt"], drawn, strict=True)
    ]
    return Dataset.from_dict(columns, features=rows.features)


def _drawn(poems: Sequence[str], share: float, seed: int) -> Iterator[str | None]:
    """A theme of each poem for about a `share` of them, None for the others."""
    draw, lexicon = random.Random(seed), Lexicon(poems)
    for poem in poems:
        yield lexicon.theme(poem, draw) if draw.random() < share else None


def spoken_of(poem: str, theme: str, kin: dict[str, set[str]]) -> tuple[int, int]:
    """How many of a theme's words stand in a poem; and how many do, or have one of their kin there."""
    words = theme.split()
    verse = _verse(poem)
    near = [word for word in words if word in verse or any(other in verse for other in kin[word])]
    return sum(word in verse for word in words), len(near)


def _verse(poem: str) -> str:
    """The lines less what is no character of theirs: a word may be parted by a mark that ends no line."""
    return "，".join(poem_lines(poem))


def _pairs(poem: str) -> Iterator[str]:
    for line in poem_lines(poem):
        if len(line) in (5, 7):
            for place in (*range(0, len(line) - 1, 2), len(line) - 2):
                yield line[place : place + 2]
