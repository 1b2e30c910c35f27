"""What alignment prefers: named predicates over a poem.

A predicate takes a `Poem` and says whether it is of the wanted kind. Add one to `PREFERENCES`, or keep it in a module
of your own and name it `module:function`.
"""

import importlib
from collections.abc import Callable, Iterable

from poet.data.corpus import Poem
from poet.errors import UserError
from poet.prosody.judge import judge
from poet.text import poem_lines

Predicate = Callable[[Poem], bool]


def five_character(poem: Poem) -> bool:
    """五言: every line is two verses of five characters, each with its punctuation."""
    return all(len(line) == 12 for line in poem.couplets)


def seven_character(poem: Poem) -> bool:
    """七言: every line is two verses of seven characters, each with its punctuation."""
    return all(len(line) == 16 for line in poem.couplets)


def quatrain(poem: Poem) -> bool:
    """絕句 jueju by length alone: two lines, which are four verses."""
    return len(poem.couplets) == 2


def rhymed(poem: Poem) -> bool:
    """The even lines share one level-tone rhyme group and repeat no rhyme word, as `poet.prosody.judge` defines it."""
    return judge(poem.text).rhymed


def regulated(poem: Poem) -> bool:
    """Rhymed, and every rule of tone of regulated verse is kept, as `poet.prosody.judge` defines it."""
    return judge(poem.text).regulated


def novel(training: Iterable[Poem]) -> Predicate:
    """The predicate of poems without a line that stands word for word in a `training` poem.

    A line is one of five or seven characters without punctuation, as in the measure `copied_lines` of `poet evaluate`.
    """
    lines = {line for poem in training for line in poem_lines(poem.text)}
    return lambda poem: lines.isdisjoint(poem_lines(poem.text))


PREFERENCES: dict[str, Predicate] = {
    "five-character": five_character,
    "seven-character": seven_character,
    "quatrain": quatrain,
    "rhymed": rhymed,
    "regulated": regulated,
    "novel": novel(()),  # against no poem; `get` gives it those that train
}


def get(name: str, training: Iterable[Poem] = ()) -> Predicate:
    """The predicate called `name`, or the function `module:function`; a UserError lists the names that exist.

    Args:
        training: the poems that "novel" compares with; without any, every poem is novel.
    """
    if name == "novel":
        return novel(training)
    if name in PREFERENCES:
        return PREFERENCES[name]
    module, separator, function = name.partition(":")
    if not separator:
        raise UserError(
            f"no preference {name!r}: there are {', '.join(PREFERENCES)}, or your own as module:function"
        )
    try:
        predicate = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"preference {name!r}: {error}") from error
    if not callable(predicate):
        raise UserError(f"preference {name!r}: {function} is not a function")
    return predicate
