"""Sources of poems: the files that a source names, and the columns of their poems.

It knows files, folders and columns. It does not know which poems are usable.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from poet import console
from poet.data import json_reader
from poet.data.json_reader import Records, describe, open_file
from poet.errors import UserError

SAMPLE = Path(__file__).parents[1] / "sample" / "poems.jsonl"
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt")
USUAL_COLUMNS = {  # tried in this order for a column that no option names
    "title": ("title", "rhythmic", "name"),
    "lines": ("paragraphs", "lines", "content", "para", "body", "text", "poem"),
    "author": ("author", "poet"),
}
Fields = dict[str, Any]  # title, couplets and author of a poem


def read_fields(source: str, columns: dict[str, str | None]) -> Iterator[Fields]:
    """Yields the title, couplets and author of each poem of a source, in the order of the files.

    Raises:
        UserError: The source is missing or empty, a file is broken, or a column is missing.
    """
    for place, record in read_records(source):
        yield _fields_of(record, columns, place)


def read_records(source: str) -> Records:
    """Yields (place, record) for each record of a source, in the order of the files.

    A record is a dict from columns to values, as the file holds them. The place names the file and
    the line, for messages.

    Raises:
        UserError: The source is missing or empty, or a file is broken.
    """
    if _is_hub_id(source):
        from poet.data.readers import read_hub

        yield from read_hub(source)
        return
    for path in console.track(_files_of(source), "reading"):
        is_empty = True
        for place, record in _read_file(path):
            is_empty = False
            if not isinstance(record, dict):
                raise UserError(
                    f"{place} is {describe(record)}. A poem is an object with title and lines."
                )
            yield place, record
        if is_empty:
            raise UserError(f"{path} is empty: it holds no poem. Fill it, or remove it.")


def fingerprint(source: str) -> str:
    """Returns a SHA-256 sum over the SHA-256 sums of the files, in order.

    `tang` and a copy of its files have the same fingerprint. For a data set on the Hub it depends
    on the id alone.
    """
    if names := _names_to_download(source):
        from poet.data import download

        sums = [file_sum for name in names for file_sum in download.checksums(name).values()]
    elif _is_hub_id(source):
        sums = [source]
    else:
        sums = []
        for path in _files_of(source):
            with open_file(path) as file:
                sums.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(sums).encode()).hexdigest()


# ------------------------------------------------------------------------------- source -> files


def _read_file(path: Path) -> Records:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return json_reader.read_json(path)
    if suffix == ".jsonl":
        return json_reader.read_jsonl(path)
    from poet.data.readers import READERS  # the embedded corpus is JSON and needs none of them

    return READERS[suffix](path)


def _names_to_download(source: str) -> list[str]:
    """Returns the parts of `tang`, `song` or `tang+song`, and an empty list for other sources."""
    names = source.split("+")
    return names if set(names) <= {"tang", "song"} else []


def _is_hub_id(source: str) -> bool:
    """Returns whether a source looks like owner/name, and not like a path of this machine."""
    path = Path(source)
    return bool(
        re.fullmatch(r"\w[\w.-]*/[\w.-]+", source, re.ASCII)
        and path.suffix.lower() not in SUFFIXES
        and not path.exists()
        and not path.parent.exists()
    )


def _files_of(source: str) -> list[Path]:
    """Returns the files of a source in reading order. Downloads the ones of `tang` and `song`."""
    if names := _names_to_download(source):
        from poet.data import download

        return [path for name in names for path in download.fetch(name)]
    path = SAMPLE if source == "sample" else Path(source).expanduser()
    if path.is_dir():
        return _files_in(path)
    if not path.exists():
        raise UserError(
            f"no corpus at {path}. Give a file, a folder, the id of a data set on the Hub "
            "(owner/name), or one of sample, tang, song, tang+song."
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"cannot read {path}: a corpus file ends in one of {', '.join(SUFFIXES)}.")
    return [path]


def _files_in(folder: Path) -> list[Path]:
    """Returns the Tang files of a copy of chinese-poetry, else its Song files, else all files."""
    from poet.data import download

    for name in download.NAMES:
        for inner in ("", "全唐诗", "dist/quantangshi", "package/dist/quantangshi"):
            known = [folder / inner / file for file in download.checksums(name)]
            if paths := [path for path in known if path.is_file()]:
                return paths
    paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    if paths := sorted(path for path in paths if path.is_file()):
        return paths
    raise UserError(
        f"no poems in the folder {folder}. Put files there that end in "
        f"{', '.join(SUFFIXES)}, or a copy of chinese-poetry."
    )


# ------------------------------------------------------------------------------- record -> fields


def _fields_of(record: dict[str, Any], columns: dict[str, str | None], place: str) -> Fields:
    values = {
        field: _value_of(record, field, columns.get(field), usual_names, place)
        for field, usual_names in USUAL_COLUMNS.items()
    }
    return {
        "title": _one_line(values["title"], f"{place}: the title"),
        "couplets": _couplets(values["lines"], f"{place}: the lines"),
        "author": _one_line(values["author"], f"{place}: the author"),
    }


def _value_of(
    record: dict, field: str, named: str | None, usual_names: tuple[str, ...], place: str
) -> Any:
    column = named or next((name for name in usual_names if name in record), None)
    if (named and named not in record) or (field == "lines" and column is None):
        raise UserError(
            f"{place}: there is no {named or f'column for the {field}'} among its columns "
            f"({', '.join(map(str, record))}). Name the right one with --{field}_column."
        )
    return record[column] if column else None


def _one_line(value: Any, place: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise UserError(f"{place} is {describe(value)}. It must be text.")
    return " ".join(str(value).splitlines()).strip()


def _couplets(value: Any, place: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(row, str) for row in value):
        text = "\n".join(value)
    elif not isinstance(value, str):
        raise UserError(f"{place} are {describe(value)}. They must be text or a list of text.")
    elif "\n" in value.strip():
        text = value
    else:  # one row: a couplet ends where a sentence does
        text = re.sub("(?<=[。！？；])", "\n", value)
    rows = (row.strip() for row in text.splitlines())
    return tuple(row for row in rows if row)
