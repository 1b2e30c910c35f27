"""Columns: finds the title, the couplets and the author in a record of any file.

It knows the usual names of columns and the kinds of values. It does not know files.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from poet.data import layouts
from poet.errors import UserError, shorten

USUAL_COLUMNS = {  # if no option names a column, the first of these that is not empty is read
    "title": (
        *("title", "rhythmic", "name", "題目", "题目", "標題", "标题", "題", "题", "詩題", "诗题"),
        *("詩名", "诗名", "篇名", "詞牌", "词牌", "名稱", "名称", "headline", "heading", "subject"),
        *("poem title", "poem name"),
    ),
    "lines": (
        *("paragraphs", "lines", "content", "para", "body", "text", "poem", "內容", "内容", "正文"),
        *("詩文", "诗文", "原文", "詩句", "诗句", "詩歌", "诗歌", "詩詞", "诗词", "詩", "诗"),
        *("全文", "文本", "contents", "verses", "verse", "lyrics", "poem text"),
        *("poem content", "poem lines"),
    ),
    "author": (
        *("author", "poet", "作者", "詩人", "诗人", "作家", "artist", "writer"),
        *("author name", "poet name"),
    ),
}
Fields = dict[str, Any]  # title, couplets and author of a poem
_CONTROL = re.compile(  # colours of a terminal, and characters without a shape
    "\x1b\\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]"
)


def fields_of(
    record: dict[str, Any],
    columns: dict[str, str | None],
    place: str,
    used: Counter[tuple[str, str]] | None = None,
    verbatim: bool = False,
) -> Fields:
    """Returns the title, the couplets and the author of a record.

    The values null, NaN, true and false count as missing.

    Args:
        columns: For "title", "lines" and "author", the name of the column. None: a usual name.
        place: The file and the line, for messages.
        used: Counts which column gave which field.
        verbatim: Whether the lines and marks stay as they are.

    Raises:
        UserError: A named column or the lines are missing, or a value is of the wrong kind.
    """
    usual = _usual_columns(tuple(record))
    values = {}
    for field in USUAL_COLUMNS:
        column = _column_of(record, field, columns.get(field), usual[field], place)
        values[field] = None if column is None else record[column]
        if used is not None and column is not None:
            used[field, str(column)] += 1
    return {
        "title": _one_line(values["title"], f"{place}: the title"),
        "couplets": _couplets(values["lines"], place, verbatim),
        "author": _one_line(values["author"], f"{place}: the author"),
    }


def document_of(record: dict[str, Any], columns: dict[str, str | None], place: str) -> str:
    """Returns the text of a record without changes. Lists of rows are joined.

    Raises:
        UserError: The column of the text is missing, or its value is of the wrong kind.
    """
    usual = _usual_columns(tuple(record))["lines"]
    rows = _rows(record[_column_of(record, "lines", columns.get("lines"), usual, place)], place)
    text = rows if isinstance(rows, str) else "\n".join(rows)
    return _CONTROL.sub("", text).strip()


def find_column(record: Iterable[Any], name: str) -> Any:
    """Returns the key of a record that a column's name refers to, or None.

    Case, spaces, `_`, `-` and a byte order mark do not matter. `1` also finds the number 1.
    """
    keys = list(record)
    exact = (key for key in keys if str(key) == name)
    alike = (key for key in keys if _key(str(key)) == _key(name))
    return next(exact, next(alike, None))


def _key(name: str) -> str:
    return re.sub(r"[\s_\ufeff-]", "", name).casefold()


_USUAL_KEYS = {field: [_key(name) for name in names] for field, names in USUAL_COLUMNS.items()}


def is_usual(name: Any, field: str) -> bool:
    """Returns whether a column's name is a usual one of "title", "lines" or "author"."""
    return _key(str(name)) in _USUAL_KEYS[field]


@functools.lru_cache(maxsize=100)
def _usual_columns(columns: tuple[Any, ...]) -> dict[str, list[Any]]:
    """Returns the columns with a usual name for each field, in the order of USUAL_COLUMNS."""
    names = {_key(str(name)): name for name in reversed(columns)}  # the first of equal names
    return {
        field: [names[key] for key in keys if key in names] for field, keys in _USUAL_KEYS.items()
    }


def _column_of(
    record: dict[str, Any], field: str, named: str | None, usual: list[Any], place: str
) -> Any:
    found = usual
    if named:
        column = find_column(record, named)
        found = [] if column is None else [column]
    if not found and (named or field == "lines"):
        raise UserError(
            f"{place}: there is no {named or f'column for the {field}'} among its columns "
            f"({shorten(', '.join(map(str, record)))}). Name the right one with --{field}_column."
        )
    full = (column for column in found if not is_missing(record[column]))
    return next(full, found[0] if found else None)


def is_missing(value: Any) -> bool:
    """Returns whether a value says nothing: null, NaN, true, false, or an empty text or list."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, list):
        return all(map(is_missing, value))
    return value is None or isinstance(value, bool) or value == {}


def _one_line(value: Any, place: str) -> str:
    if is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # pandas makes 7 a 7.0 if another title is missing
    if not isinstance(value, str | int | float):
        raise UserError(f"{place} is {describe(value)}. It must be text.")
    return _CONTROL.sub("", " ".join(str(value).splitlines())).strip()


def _couplets(value: Any, place: str, verbatim: bool) -> tuple[str, ...]:
    rows = _rows(value, place)
    if verbatim:
        return tuple(layouts.plain_rows(rows))
    if isinstance(rows, str):
        return layouts.couplets(_CONTROL.sub("", rows))
    return layouts.couplets([_CONTROL.sub("", row) for row in rows])


def _rows(value: Any, place: str) -> str | list[str]:
    """Returns the lines of a record: a text, or a list of rows. Refuses any other value."""
    if is_missing(value):
        return ""
    if isinstance(value, list) and all(isinstance(row, str) or is_missing(row) for row in value):
        return [row for row in value if isinstance(row, str)]
    if not isinstance(value, str):
        raise UserError(
            f"{place}: the lines are {describe(value)}. They must be text or a list of text."
        )
    if re.fullmatch(r"\s*\[\s*(['\"]).*\1\s*\]\s*", value, re.DOTALL):
        # pandas writes a list into a cell as Python does: ['first row', 'second row']
        return [match[2] for match in re.finditer(r"(['\"])(.*?)\1", value)]
    return value


def describe(value: Any) -> str:
    """Returns the kind of a JSON value in words, like "a list of text"."""
    if value is None:
        return "null"
    if isinstance(value, list):
        kinds = {describe(item) for item in value[:1_000]}
        return shorten("a list of " + (", ".join(sorted(kinds)) or "nothing"), 80)
    words = {
        dict: "an object",
        str: "text",
        int: "a number",
        float: "a number",
        bool: "true or false",
    }
    return words.get(type(value), type(value).__name__)
