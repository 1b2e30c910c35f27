"""What alignment prefers: named predicates over a poem.

A predicate takes a `Poem` and says whether it is of the wanted kind. Add one to `PREFERENCES`, or keep it in a module
of your own and name it `module:function`.
"""

import importlib
from collections.abc import Callable

from poet.corpus import Poem
from poet.errors import UserError

Predicate = Callable[[Poem], bool]


def five_character(poem: Poem) -> bool:
    """五言: every line is two verses of five characters, each with its punctuation."""
    return all(len(line) == 12 for line in poem.lines)


def seven_character(poem: Poem) -> bool:
    """七言: every line is two verses of seven characters, each with its punctuation."""
    return all(len(line) == 16 for line in poem.lines)


def quatrain(poem: Poem) -> bool:
    """絕句 jueju by length alone: two lines, which are four verses."""
    return len(poem.lines) == 2


PREFERENCES: dict[str, Predicate] = {
    "five-character": five_character,
    "seven-character": seven_character,
    "quatrain": quatrain,
}


def get(name: str) -> Predicate:
    """The predicate called `name`, or the function `module:function`; a UserError lists the names that exist."""
    if name in PREFERENCES:
        return PREFERENCES[name]
    module, separator, function = name.partition(":")
    if not separator:
        raise UserError(f"no preference {name!r}: there are {', '.join(PREFERENCES)}, or your own as module:function")
    try:
        predicate = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"preference {name!r}: {error}") from error
    if not callable(predicate):
        raise UserError(f"preference {name!r}: {function} is not a function")
    return predicate
