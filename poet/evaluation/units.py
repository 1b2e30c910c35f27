"""Cuts texts into lines, and into characters or words, to count repetitions.

It knows texts. It does not know models.
"""

from collections.abc import Sequence

from poet.data.kind import Kind
from poet.text import poem_lines

Line = Sequence[str]
"""The characters of a line, or its words."""


def lines_of(text: str, kind: Kind) -> tuple[Line, ...]:
    """Returns the lines of a text.

    A line of a Chinese text ends at a mark, and its items are the Chinese characters. A line of
    another text is a row. Its items are words, or characters in a language without spaces.
    """
    if kind.code == "zh":
        return poem_lines(text)
    rows = (row.split() for row in text.split("\n"))
    return tuple(tuple(row) if kind.has_spaces else "".join(row) for row in rows if row)


def joined(lines: Sequence[Line], kind: Kind) -> str:
    """Returns the lines of a text as one string without line breaks."""
    return (" " if kind.has_spaces else "").join(item for line in lines for item in line)
