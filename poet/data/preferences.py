"""Preferences: functions that decide which poems alignment prefers.

To add one, write a function `Poem -> bool`, for example `moon`. Add it to `PREFERENCES` and name it
in data.yaml: `preference: moon`. Or keep it in a file of the working folder or of the recipe's
folder, for example my_rules.py, and name it as `module:function`: `preference: my_rules:moon`.

It knows poems. It does not know rows, pairs or models.
"""

from collections.abc import Callable, Iterable

from poet.data.poems import Poem
from poet.errors import UserError
from poet.extension import load_function
from poet.text import poem_lines

Predicate = Callable[[Poem], bool]


def five_character(poem: Poem) -> bool:
    """Returns whether every couplet has two lines of five characters (五言) with their marks."""
    return all(len(couplet) == 12 for couplet in poem.couplets)


def seven_character(poem: Poem) -> bool:
    """Returns whether every couplet has two lines of seven characters (七言) with their marks."""
    return all(len(couplet) == 16 for couplet in poem.couplets)


def quatrain(poem: Poem) -> bool:
    """Returns whether the poem has two couplets, the length of a 絕句 (jueju, four lines)."""
    return len(poem.couplets) == 2


def rhymed(poem: Poem) -> bool:
    """Returns whether even lines end in one level-tone rhyme group, and no rhyme word repeats."""
    from poet.prosody.judge import judge

    return judge(poem.text).rhymed


def regulated(poem: Poem) -> bool:
    """Returns whether the poem is rhymed and keeps every tone rule of regulated verse."""
    from poet.prosody.judge import judge

    return judge(poem.text).regulated


def novel(training: Iterable[Poem]) -> Predicate:
    """Returns a preference for poems that repeat no line of the `training` poems.

    Lines are compared without marks, as in the measure `copied_lines` of `poet evaluate`.
    """
    lines = {line for poem in training for line in poem_lines(poem.text)}
    return lambda poem: lines.isdisjoint(poem_lines(poem.text))


PREFERENCES: dict[str, Predicate] = {
    "five-character": five_character,
    "seven-character": seven_character,
    "quatrain": quatrain,
    "rhymed": rhymed,
    "regulated": regulated,
    "novel": novel(()),  # `get` replaces it by one that knows the training poems
}


def check_name(name: str) -> None:
    """Raises a UserError for a name that cannot be a preference. It loads no module."""
    if name not in PREFERENCES and ":" not in name:
        raise UserError(
            f"there is no preference {name!r}. Choose one of {', '.join(PREFERENCES)}, "
            "or name a function as module:function."
        )


def get(name: str, training: Iterable[Poem] = (), folder: str | None = None) -> Predicate:
    """Returns the preference of that name, or the function `module:function`.

    Args:
        training: The poems that "novel" compares with. Without any, every poem is novel.
        folder: One more folder to look for the module in.

    Raises:
        UserError: There is no such preference, module or function.
    """
    check_name(name)
    if name == "novel":
        return novel(training)
    if name in PREFERENCES:
        return PREFERENCES[name]
    return load_function(name, "preference", folder)
