"""Poems as plain text: Chinese characters, the marks that end a line, lines.

Knows no tones, no files and no models.
"""

import re

HAN = re.compile("[\u2e80-\u2fdf\u3005\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
LINE_END = re.compile("[，。？！；,.?!;]")
_COUPLET_LINE = re.compile(
    "([^，。？！；、]{5}，[^，。？！；、]{5}|[^，。？！；、]{7}，[^，。？！；、]{7})[。？！；]"
)


def line_length(text: str) -> int | None:
    """5 or 7 when the poem is well formed, else None.

    Well formed: at least two lines ("\\n" between them), all of one length, each 5，5。 or 7，7。 (？！； end a line as 。 does).
    """
    lines = text.strip().split("\n")
    if (
        len(lines) < 2
        or len(set(map(len, lines))) > 1
        or not all(map(_COUPLET_LINE.fullmatch, lines))
    ):
        return None
    return (len(lines[0]) - 2) // 2


def poem_lines(text: str) -> tuple[str, ...]:
    """The lines of a poem: they end at ，。？！； or , . ? ! ; and hold Han characters only."""
    parts = ("".join(HAN.findall(part)) for part in LINE_END.split(text))
    return tuple(filter(None, parts))
