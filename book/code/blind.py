"""Builds the blind test of chapter 11, and asks it in the terminal."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet.data.poems import Poem, read_corpus
from poet.generation.write import write
from poet.prosody.judge import judge
from poet.prosody.request import regulated_form

FORMS = ("五言絕句", "五言律詩", "七言絕句", "七言律詩")  # four or eight lines, of five or seven


class Pair(NamedTuple):
    """Two poems with one title. The right answer is `right`: A if `first_is_right`, else B."""

    title: str
    right: str
    other: str
    first_is_right: bool

    @property
    def poems(self) -> tuple[str, str]:
        return (self.right, self.other) if self.first_is_right else (self.other, self.right)


def pairs_with_a_person(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, source: str, count: int, seed: int
) -> Iterator[Pair]:
    """Yields pairs of a poem of `source`, which a person wrote, and one of the model.

    Both keep every rule and have the same form. So the rules cannot tell them apart.
    """
    rng = random.Random(seed)
    poems = list(read_corpus(source).poems)
    rng.shuffle(poems)
    usable = (poem for poem in poems if is_usable(poem))
    for _, poem in zip(range(count), usable, strict=False):
        form = regulated_form(poem.text)
        written = write(model, tokenizer, poem.title, n=4, form=form, seed=rng.randrange(2**32))
        yield Pair(poem.title, poem.text, written[0], rng.random() < 0.5)


def is_usable(poem: Poem) -> bool:
    short = 0 < len(poem.title) <= 12  # a poem of eight lines needs the room
    return short and regulated_form(poem.text) in FORMS and judge(poem.text).regulated


def pairs_without_a_person(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: Sequence[str],
    count: int,
    seed: int,
) -> Iterator[Pair]:
    """Yields pairs of a poem written freely, which breaks a rule, and one under the mask."""
    rng = random.Random(seed)
    for title in titles:
        free = write(model, tokenizer, title, n=4, seed=rng.randrange(2**32))
        forms = ((poem, regulated_form(poem)) for poem in free if not judge(poem).regulated)
        poem, form = next(((poem, form) for poem, form in forms if form in FORMS), ("", None))
        if form and count:
            masked = write(model, tokenizer, title, n=4, form=form, seed=rng.randrange(2**32))
            yield Pair(title, poem, masked[0], rng.random() < 0.5)
            count -= 1


def ask_all(pairs: Iterator[Pair], question: str, tones: bool) -> None:
    """Asks about each pair, and says how likely the result is for someone who throws a coin."""
    asked = right = 0
    for pair in pairs:
        print(f"\n{pair.title}")
        for name, poem in zip("AB", pair.poems, strict=True):
            print(f"\n{name}\n{with_tones(poem) if tones else poem}")
        try:
            answer = input(f"\n{question} A or B? ").strip().upper()
        except EOFError:
            break
        is_right = answer == ("A" if pair.first_is_right else "B")
        print("right" if is_right else "wrong")
        asked, right = asked + 1, right + is_right
    print(f"\n{right} of {asked} are right. A coin does as well or better in")
    print(f"{by_chance(right, asked):.0%} of all tests.")


def with_tones(poem: str) -> str:
    """Returns the lines of a poem, each with its tones: L level, O oblique, - either."""
    judgment = judge(poem)
    signs = str.maketrans("平仄中？", "LO-?")
    return "\n".join(
        f"{line}  {' '.join(tones.translate(signs))}"
        for line, tones in zip(judgment.lines, judgment.tones, strict=True)
    )


def by_chance(right: int, asked: int) -> float:
    """Returns the chance that a coin gives at least `right` right answers of `asked`."""
    return sum(math.comb(asked, n) for n in range(right, asked + 1)) / 2**asked
