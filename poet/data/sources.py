"""Sources of poems: the files that a source names.

It knows files and folders. It does not know columns, or which poems are usable.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from poet import console
from poet.data import json_reader
from poet.data.columns import Fields, describe, fields_of
from poet.data.json_reader import Records, open_file
from poet.errors import UserError, shorten

SAMPLE = Path(__file__).parents[1] / "sample" / "poems.jsonl"
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".md")
_ABOUT_DATA = re.compile(  # a folder of texts often holds these too
    r"(readme|licen[sc]e|notice|changelog|contributing|requirements)\b.*\.(md|txt)", re.IGNORECASE
)


@dataclass
class Found:
    """Counts of the layouts, columns and files in a source. The data stage prints them."""

    layouts: Counter[str] = field(default_factory=Counter)
    """Layout of a text file -> number of files."""
    columns: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(title, lines or author; name of the column) -> number of records."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Ending of a file that is not read, or the reason -> number of files."""

    def notes(self) -> list[str]:
        """Returns one sentence for each kind of file and column."""
        notes = [
            f"{count:,} {'file holds' if count == 1 else 'files hold'} {layout}."
            for layout, count in self.layouts.most_common()
        ]
        names: dict[str, list[str]] = {}
        for (what, column), count in self.columns.most_common():
            if self.layouts and column in ("title", "lines", "author", "text"):
                continue  # the records of a text file have these
            names.setdefault(what, []).append(f"{shorten(column, 40)} ({count:,})")
        if names:
            used = "; ".join(f"{what} from {', '.join(columns)}" for what, columns in names.items())
            notes.append(f"Columns: {shorten(used)}.")
        if self.skipped:
            most = sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in most)
            count = self.skipped.total()
            files = "1 file was" if count == 1 else f"{count:,} files were"
            notes.append(f"{files} not read: {shorten(kinds)}.")
        return notes


def read_fields(
    source: str,
    columns: dict[str, str | None],
    found: Found | None = None,
    records: Records | None = None,
) -> Iterator[Fields]:
    """Yields the title, couplets and author of each poem of a source, in the order of the files.

    Args:
        found: Counts what the readers find.
        records: The records of the source, if they are being read already.

    Raises:
        UserError: The source is missing or empty, a file is broken, or a column is missing.
    """
    found = found or Found()
    verbatim = source == "sample" or _is_chinese_poetry(source)
    for place, record in records or read_records(source, found):
        yield fields_of(record, columns, place, None if verbatim else found.columns, verbatim)


def read_records(source: str, found: Found | None = None) -> Records:
    """Yields (place, record) for each record of a source, in the order of the files.

    A record is a dict from columns to values, as the file holds them. The place names the file and
    the line, for messages.

    Args:
        found: Counts what the readers find.

    Raises:
        UserError: The source is missing or empty, or a file is broken.
    """
    if _is_hub_id(source):
        from poet.data.readers import read_hub

        yield from read_hub(source)
        return
    found = found or Found()
    for path in console.track(_files_of(source, found), "reading"):
        is_empty = True
        for place, record in _read_file(path, found):
            is_empty = False
            if not isinstance(record, dict):
                raise UserError(
                    f"{place} is {describe(record)}. "
                    "It must be an object with keys, like title and text."
                )
            yield place, record
        if is_empty:
            raise UserError(f"{path} is empty: it holds no poem. Fill it, or remove it.")


def size_of(source: str) -> int:
    """Returns the bytes of the files of a source. A data set on the Hub counts as 1 GB."""
    return 10**9 if _is_hub_id(source) else sum(path.stat().st_size for path in _files_of(source))


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


def _read_file(path: Path, found: Found) -> Records:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return json_reader.read_json(path)
    if suffix == ".jsonl":
        return json_reader.read_jsonl(path)
    from poet.data import readers  # the embedded corpus is JSON and needs none of them

    if suffix == ".parquet":
        return readers.read_parquet(path)
    if suffix in (".csv", ".tsv"):
        return readers.read_csv(path)
    return readers.read_txt(path, found.layouts)


def _is_chinese_poetry(source: str) -> bool:
    """Returns whether a source is Tang or Song. These are read as they are."""
    if _names_to_download(source):
        return True
    if _is_hub_id(source):
        return False
    from poet.data import download

    known = {file for name in download.NAMES for file in download.checksums(name)}
    return all(path.name in known for path in _files_of(source))


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


def _files_of(source: str, found: Found | None = None) -> list[Path]:
    """Returns the files of a source in reading order. Downloads the ones of `tang` and `song`."""
    if names := _names_to_download(source):
        from poet.data import download

        return [path for name in names for path in download.fetch(name)]
    path = SAMPLE if source == "sample" else Path(source).expanduser()
    if path.is_dir():
        return _files_in(path, found or Found())
    if not path.is_file():
        cause = "is not a file" if path.exists() else "does not exist"
        if path.is_symlink() and not path.exists():
            cause = f"is a link to {os.readlink(path)}, which is not there"
        raise UserError(
            f"no corpus at {path}: it {cause}. Give a file, a folder, the id of a data set on the "
            "Hub (owner/name), or one of sample, tang, song, tang+song."
        )
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"cannot read {path}: a corpus file ends in one of {', '.join(SUFFIXES)}. "
            "Unpack it, or save it as one of these."
        )
    return [path]


def _files_in(folder: Path, found: Found) -> list[Path]:
    """Returns the Tang files of a copy of chinese-poetry, else its Song files, else all files.

    The files of subfolders are included. All are sorted by their paths. Hidden ones are left out.
    """
    from poet.data import download

    for name in download.NAMES:
        for inner in ("", "全唐诗", "dist/quantangshi", "package/dist/quantangshi"):
            known = [folder / inner / file for file in download.checksums(name)]
            if paths := [path for path in known if path.is_file()]:
                return paths
    paths = []
    seen: set[str] = set()
    for path in sorted(_walk(folder)):
        if reason := _reason_to_skip(path):
            found.skipped[reason] += 1
        elif (real := os.path.realpath(path)) in seen:
            found.skipped["linked twice"] += 1
        else:
            seen.add(real)
            paths.append(path)
    if paths:
        return paths
    raise UserError(
        f"no poems in the folder {folder}. Put files there that end in "
        f"{', '.join(SUFFIXES)}, or a copy of chinese-poetry. {' '.join(found.notes())}".rstrip()
    )


def _walk(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder, without hidden ones. Follows links, but in no circle."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read {error.filename}: {error.strerror}. Check the path.")

    for name, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(name)
        is_known = real in seen
        seen.add(real)
        folders[:] = [] if is_known else sorted(f for f in folders if not _is_hidden(f))
        for file in [] if is_known else files:
            if not _is_hidden(file):
                yield Path(name, file)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _reason_to_skip(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if not path.is_file():
        return "broken link" if path.is_symlink() else "neither file nor folder"
    if _ABOUT_DATA.fullmatch(path.name):
        return path.name
    return None if suffix in SUFFIXES else suffix or "without an ending"
