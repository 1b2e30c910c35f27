"""UTF-8 text and JSON: the format of the embedded corpus and of the Tang and Song poems.

It knows encodings and JSON. It does not know what a record means.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from poet.data.columns import describe, is_usual
from poet.errors import UserError, shorten

LONGEST_ROW = 1 << 24  # bytes; bounds the memory for a file without line breaks
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BINARY = {  # the first bytes of other formats, which people rename to .json or .txt
    b"\x1f\x8b": "a gzip file. Unpack it with `gunzip`.",
    b"PK\x03\x04": "a zip archive, as .xlsx and .docx are. Unpack it, or save it as .csv or .txt.",
    b"PAR1": "a Parquet file. Rename it to .parquet.",
    b"%PDF": "a PDF file. Save its text as .txt.",
    b"\xd0\xcf\x11\xe0": "an old Office file. Save it as .csv or .txt.",
}

Records = Iterator[tuple[str, Any]]  # (place, as an error message names it; record)


@contextmanager
def open_file(path: Path) -> Iterator[BufferedReader]:
    """Opens a file for reading bytes. An error while it is read is a `UserError` too."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}. Check the path.") from error


def text_rows(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (number, row with its line break) of a UTF-8 file, one row in memory at a time.

    A row may end in \\n, \\r\\n or \\r.
    """
    number = 0
    with open_file(path) as file:
        while raw := file.readline(LONGEST_ROW):
            if not number:
                _refuse_binary(raw, path)
                raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if len(raw) >= LONGEST_ROW:
                raise UserError(
                    f"{path}, line {number + 1}: longer than {LONGEST_ROW:,} bytes. "
                    "Break it up: poems have short lines."
                )
            for row in raw.splitlines(keepends=True):
                number += 1
                yield number, _decode(row, path, number)


def _refuse_binary(raw: bytes, path: Path) -> None:
    for start, advice in _BINARY.items():
        if raw.startswith(start):
            raise UserError(f"{path} is not text. It looks like {advice}")


def _decode(raw: bytes, path: Path, line: int) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        if error.reason == "unexpected end of data":
            raise UserError(
                f"{path}, line {line}: the file ends in the middle of a character. "
                "Copy it again, or remove its last line."
            ) from error
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}). {_conversion(raw)}"
        ) from error
    if "\0" in text:
        line += text.count("\n", 0, text.index("\0"))
        raise UserError(
            f"{path}, line {line}: a zero byte, which no text holds. If the file is UTF-16, "
            "convert it with `iconv -f UTF-16 -t UTF-8`. Otherwise copy it again: it is damaged."
        )
    return text


def _conversion(raw: bytes) -> str:
    """Returns how to convert a row to UTF-8, from the encoding that it most likely has."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "Convert it with `iconv -f UTF-16 -t UTF-8`."
    if sum(byte > 0x7F for byte in raw[:10_000]) < 0.3 * len(raw[:10_000]):
        return "If the file is Western European, convert it with `iconv -f CP1252 -t UTF-8`."
    return "Convert it with `iconv -f GB18030 -t UTF-8`, or with -f BIG5."


def read_json(path: Path) -> Records:
    """Reads objects in one of the usual arrangements.

    - A list of objects, one object, one object per row, or {"data": [...]}.
    - Objects keyed by id.
    - Columns as pandas writes them: {"title": [...]}, {"title": {"0": ...}}, or {"columns": [...],
      "data": [[...]]}.
    """
    with open_file(path) as file:
        raw = file.read()
    _refuse_binary(raw, path)
    text = _decode(raw.removeprefix(_BYTE_ORDER_MARK), path, 1)
    if not text.strip():
        return
    if re.match(r"\s*\{[^\r\n]*\}[ \t]*[\r\n]\s*\{", text):
        yield from read_jsonl(path)
        return
    data = _parse(text, path, 1)
    records = _records_in(data) if isinstance(data, dict) else data
    if not isinstance(records, list):
        raise UserError(f"{path} holds {describe(records)}. It must hold a list of poems.")
    for number, record in enumerate(records, 1):
        yield f"{path}, poem {number}", record


def read_jsonl(path: Path) -> Records:
    """Reads one object per row."""
    for number, row in text_rows(path):
        if row.strip():
            yield f"{path}, line {number}", _parse(row, path, number)


def _parse(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        cause, advice = str(error), "Correct it, or remove it from the corpus."
        if isinstance(error, RecursionError):
            cause = "nested too deeply"
        elif cause.startswith("Exceeds the limit"):
            cause = "a number of more than 4,300 digits"
        if isinstance(error, json.JSONDecodeError):
            line, cause = line + error.lineno - 1, error.msg
        if cause == "Extra data":
            advice = "If it has one object per line, name it .jsonl."
        raise UserError(f"{path}, line {line}: broken JSON ({shorten(cause)}). {advice}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object. Refuses two values for one key, where Python would keep the last."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if made.setdefault(key, value) is not value and made[key] != value:
            raise ValueError(f"two values for the key {shorten(key, 40)} in one object")
    return made


def _records_in(data: dict[str, Any]) -> list[Any]:
    """Returns the records of an object that is a whole file."""
    values = list(data.values())
    if lists := [value for value in values if _is_list_of_objects(value)]:
        return lists[0]
    names, rows = data.get("columns"), data.get("data")
    if (
        isinstance(names, list)
        and isinstance(rows, list)
        and all(isinstance(r, list) for r in rows)
    ):
        return [dict(zip(map(str, names), row, strict=False)) for row in rows]
    if any(is_usual(key, "lines") for key in data):
        kinds = {type(value) for value in values}
        if kinds == {list} and len(data) > 1 and len({len(value) for value in values}) == 1:
            return [dict(zip(data, row, strict=True)) for row in zip(*values, strict=True)]
        if kinds == {dict}:
            numbers = dict.fromkeys(key for column in values for key in column)
            return [{name: column.get(key) for name, column in data.items()} for key in numbers]
    elif values and all(isinstance(value, dict) for value in values):
        return _records_in(values[0]) if len(values) == 1 else values
    return [data]


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
