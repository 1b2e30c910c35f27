"""Characters and lines of poems.

It knows Chinese characters and the marks at line ends. It does not know tones, files or models.
"""

import re

HAN = re.compile("[\u2e80-\u2fdf\u3005\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
LINE_END = re.compile("[，。？！；,.?!;]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FIVE, _SEVEN = "[^，。？！；、]{5}", "[^，。？！；、]{7}"
_COUPLET = re.compile(f"({_FIVE}，{_FIVE}|{_SEVEN}，{_SEVEN})[。？！；]")


def visible(text: str) -> str:
    """Replaces the control characters of a text, which a terminal obeys, by U+FFFD.

    Line breaks and tabs stay.
    """
    return _CONTROL.sub("\ufffd", text)


def line_length(text: str) -> int | None:
    """Returns 5 or 7, the characters per line of a well-formed poem. Otherwise returns None.

    A poem is well formed if it has at least two couplets, one per row. All lines have five
    characters, or all have seven. The first line of a couplet ends in ， and the second in one of
    。？！；.
    """
    couplets = text.strip().split("\n")
    if len(couplets) < 2 or not all(map(_COUPLET.fullmatch, couplets)):
        return None
    lengths = {len(couplet) for couplet in couplets}
    if len(lengths) > 1:
        return None
    return (lengths.pop() - 2) // 2


def poem_lines(text: str) -> tuple[str, ...]:
    """Returns the lines of a poem without marks. Only Chinese characters are left.

    A mark ends a line. In a poem without any mark, a line break does.
    """
    parts = LINE_END.split(text)
    if len(parts) == 1:
        parts = text.split("\n")
    lines = ("".join(HAN.findall(part)) for part in parts)
    return tuple(filter(None, lines))
