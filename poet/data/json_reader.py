"""UTF-8 text and JSON: the format of the embedded corpus and of the Tang and Song poems.

It knows encodings and JSON. It does not know what a record means.
"""

import itertools
import json
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from poet.errors import UserError

LONGEST_ROW = 1 << 24  # bytes; bounds the memory for a file without line breaks
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Records = Iterator[tuple[str, Any]]  # (place, as an error message names it; record)


def open_file(path: Path) -> BufferedReader:
    """Opens a file for reading bytes."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}. Check the path.") from error


def text_rows(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (number, row with its line break) of a UTF-8 file, one row in memory at a time."""
    with open_file(path) as file:
        for number in itertools.count(1):
            raw = file.readline(LONGEST_ROW)
            if not raw:
                return
            if len(raw) == LONGEST_ROW:
                raise UserError(
                    f"{path}, line {number}: longer than {LONGEST_ROW:,} bytes. "
                    "Break it up: poems have short lines."
                )
            if number == 1:
                raw = raw.removeprefix(_BYTE_ORDER_MARK)
            yield number, _decode(raw, path, number)


def _decode(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        is_utf_16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        guess, encoding = ("UTF-16", "UTF-16") if is_utf_16 else ("GB18030 or BIG5", "GB18030")
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}). "
            f"If the file is {guess}, convert it with `iconv -f {encoding} -t UTF-8`."
        ) from error


def read_json(path: Path) -> Records:
    """Reads a list of objects, one object, or an object that holds the list: {"data": [...]}."""
    with open_file(path) as file:
        text = _decode(file.read().removeprefix(_BYTE_ORDER_MARK), path, 1)
    if not text.strip():
        return
    data = _parse(text, path, 1)
    if isinstance(data, dict):
        lists = (value for value in data.values() if _is_list_of_objects(value))
        data = next(lists, [data])
    if not isinstance(data, list):
        raise UserError(f"{path} holds {describe(data)}. A corpus is a list of poems.")
    for number, record in enumerate(data, 1):
        yield f"{path}, poem {number}", record


def read_jsonl(path: Path) -> Records:
    """Reads one object per row."""
    for number, row in text_rows(path):
        if row.strip():
            yield f"{path}, line {number}", _parse(row, path, number)


def _parse(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        cause, advice = str(error), "Correct it, or remove it from the corpus."
        if isinstance(error, json.JSONDecodeError):
            line, cause = line + error.lineno - 1, error.msg
        if cause == "Extra data":
            advice = "If it has one object per line, name it .jsonl."
        raise UserError(f"{path}, line {line}: broken JSON ({cause}). {advice}") from error


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def describe(value: Any) -> str:
    """Returns the kind of a JSON value in words, like "a list of text"."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return "a list of " + (", ".join(sorted({describe(item) for item in value})) or "nothing")
    words = {
        dict: "an object",
        str: "text",
        int: "a number",
        float: "a number",
        bool: "true or false",
    }
    return words.get(type(value), type(value).__name__)
