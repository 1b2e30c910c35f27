"""Makes themes: one to three words of a poem that replace its title.

A model that was trained on themes can write about given words (`poet write --theme`).

There is no dictionary: the words are found in the corpus. A word of two characters is a pair that
occurs together more often than by chance, at a position where the metre puts a word. A line of five
characters divides into 2-1-2 or 2-2-1. A line of seven has two more in front (Wang Li 王力,
詩詞格律, 4.2). A character is a word when several pairs end with it. For example, 月 (moon) is the
last character of 明月 (bright moon), 秋月 (autumn moon) and 江月 (river moon).

It knows the words that several poems of a corpus share. It does not know models.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from math import log

from datasets import Dataset

from poet.data.poems import Poem
from poet.data.rows import content
from poet.prosody.script import SIMPLIFIED, script_of, to_simplified
from poet.text import poem_lines
from poet_tokenizer import ask

INSTRUCTION = "請用以下主題寫一首詩"  # Please write a poem on the following theme.
GUIDANCE = 2.0
"""Guidance for themes. Without it poems use a third of the words; at 2.5 fewer keep a form."""
_MAX_WORDS = 3  # per theme
_MIN_ASSOCIATION = 1.5  # nats above chance
_MIN_ENDINGS = 3  # a character is a word if it ends this many words of two characters
_MAX_RELATED = 5  # related words per word
# 虛字: they have a grammatical role and no theme
_FUNCTION_WORDS = "不無未莫非有在是爲此彼其所何誰孰豈可能得應須將欲已猶尚亦又還更自相與之而於乃今一"


def instruction(vocabulary: Iterable[str]) -> str:
    """Returns the system message of a theme prompt, in the script of a vocabulary or of poems."""
    simplified = script_of(vocabulary) == SIMPLIFIED
    return to_simplified(INSTRUCTION) if simplified else INSTRUCTION


class Lexicon:
    """The words that a theme may have.

    A word of two characters occurs in at least three poems, and in at least one poem per thousand.
    Its characters stand together more often than by chance. A word of one character ends at least
    three words of two characters.

    Args:
        poems: Texts of the training poems.
    """

    def __init__(self, poems: Sequence[str]):
        self.poems = poems
        simplified = script_of(set("".join(poems))) == SIMPLIFIED
        function_words = set(to_simplified(_FUNCTION_WORDS) if simplified else _FUNCTION_WORDS)
        pairs_of_poems = [list(_pairs(poem)) for poem in poems]
        pair_counts = Counter(chain.from_iterable(pairs_of_poems))
        self.poems_with = Counter(chain.from_iterable(map(set, [*pairs_of_poems, *poems])))
        first_counts, second_counts = Counter[str](), Counter[str]()
        for pair, count in pair_counts.items():
            first_counts[pair[0]] += count
            second_counts[pair[1]] += count
        total, min_poems = pair_counts.total(), max(3, len(poems) // 1000)

        def is_word(pair: str, count: int) -> bool:
            if self.poems_with[pair] < min_poems or not function_words.isdisjoint(pair):
                return False
            by_chance = first_counts[pair[0]] * second_counts[pair[1]] / total
            return log(count / by_chance) > _MIN_ASSOCIATION

        self.words = {pair for pair, count in pair_counts.items() if is_word(pair, count)}
        endings = Counter(pair[1] for pair in self.words)
        self.words |= {ending for ending, count in endings.items() if count >= _MIN_ENDINGS}

    def words_of(self, poem: str) -> list[str]:
        """Returns the words of a poem in their order."""
        text = _text(poem)
        words = {*_pairs(poem), *text} & self.words
        return sorted(words, key=lambda word: (text.index(word), word))

    def theme(self, poem: str, rng: random.Random) -> str | None:
        """Returns one to three words of a poem with spaces between them, or None without a word.

        No character occurs twice. Rare words are more likely than common ones.
        """
        words, theme = self.words_of(poem), list[str]()
        for _ in range(rng.randint(1, _MAX_WORDS)):
            unused = [word for word in words if set(word).isdisjoint("".join(theme))]
            if unused:
                theme += rng.choices(unused, [1 / self.poems_with[word] for word in unused])
        return " ".join(theme) or None

    def related_words(self, words: Iterable[str]) -> dict[str, set[str]]:
        """Returns up to five related words per word: those that share poems with it beyond chance.

        The measure is mutual information (Church and Hanks 1990), multiplied by the number of
        shared poems. Without this factor the rarest words would be related to everything.
        """
        shared_counts = {word: Counter[str]() for word in words}
        for poem in self.poems:
            words_here = [word for word in shared_counts if word in poem]
            others = self.words_of(poem) if words_here else []
            for word in words_here:
                shared_counts[word].update(others)
        return {word: self._most_related(word, others) for word, others in shared_counts.items()}

    def _most_related(self, word: str, shared_counts: Counter[str]) -> set[str]:
        share = max(1, self.poems_with[word]) / len(self.poems)
        gains = {
            other: shared * log(shared / (share * self.poems_with[other]))
            for other, shared in shared_counts.items()
            if set(other).isdisjoint(word)
        }
        return set(sorted(gains, key=lambda other: (-gains[other], other))[:_MAX_RELATED])


def part_by_theme(
    poems: Sequence[Poem], fraction: float, seed: int
) -> tuple[list[Poem], list[Poem]]:
    """Returns the poems that keep their title, and the others with a theme as their title.

    Args:
        fraction: Approximate fraction of the poems that get a theme.
    """
    themes = _sample_themes([poem.text for poem in poems], fraction, seed)
    pairs = list(zip(poems, themes, strict=True))
    titled = [poem for poem, theme in pairs if theme is None]
    return titled, [replace(poem, title=theme) for poem, theme in pairs if theme is not None]


def ask_by_theme(rows: Dataset, fraction: float, seed: int) -> Dataset:
    """Returns the rows. In a fraction of them, the prompt has a theme instead of the title.

    Args:
        rows: With the columns "prompt" and "completion".
        fraction: Approximate fraction of the rows that change. A poem without a word of the
            `Lexicon` keeps its title.
    """
    columns = {name: rows[name][:] for name in rows.column_names}
    poems = [content(completion) for completion in columns["completion"]]
    themes = _sample_themes(poems, fraction, seed)
    system = instruction(set("".join(poems)))
    columns["prompt"] = [
        prompt if theme is None else ask(theme, system)
        for prompt, theme in zip(columns["prompt"], themes, strict=True)
    ]
    return Dataset.from_dict(columns, features=rows.features)


def _sample_themes(poems: Sequence[str], fraction: float, seed: int) -> Iterator[str | None]:
    """Yields a theme for about a fraction of the poems, and None for the others."""
    rng, lexicon = random.Random(seed), Lexicon(poems)
    for poem in poems:
        yield lexicon.theme(poem, rng) if rng.random() < fraction else None


def count_used_words(poem: str, theme: str, related: dict[str, set[str]]) -> tuple[int, int]:
    """Counts the words of a theme that a poem uses.

    Returns:
        Two numbers: the theme words that occur in the poem, and the theme words that occur there
        themselves or through a related word.
    """
    words, text = theme.split(), _text(poem)
    used = [word for word in words if word in text]
    used_or_related = [
        word for word in words if word in text or any(other in text for other in related[word])
    ]
    return len(used), len(used_or_related)


def _text(poem: str) -> str:
    """Returns the lines of a poem with ， between them. Drops 、, which may divide a word."""
    return "，".join(poem_lines(poem))


def _pairs(poem: str) -> Iterator[str]:
    """Yields the pairs of characters at positions where the metre of a line puts a word."""
    for line in poem_lines(poem):
        if len(line) in (5, 7):
            for place in (*range(0, len(line) - 1, 2), len(line) - 2):
                yield line[place : place + 2]
