"""Sources of verse -> clean poems -> the three parts of the split.

Knows file formats and the tutorial's cleaning; knows nothing of tokens, prompts or training.
A source is `sample`, `tang`, `song`, `tang+song`, a folder, a file, or the id of a data set on the Hugging Face Hub.
"""

import bisect
import csv
import hashlib
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from poet.data import download
from poet.errors import UserError
from poet.text import HAN, LINE_END

SAMPLE = Path(__file__).parents[1] / "sample" / "poems.jsonl"
USUAL_COLUMNS = {  # looked for in this order where no column is named
    "title": ("title", "rhythmic", "name"),
    "lines": ("paragraphs", "lines", "content", "para", "body", "text", "poem"),
    "author": ("author", "poet"),
}
LONGEST_LINE = 1 << 24  # bytes; keeps memory bounded on a file without line ends
LONGEST_POEM = 1_000_000  # characters; likewise on a text without blank lines

_CLOSING = "」』”’\"'"

Records = Iterator[tuple[str, Any]]  # (where it stands, as an error names it; the record)


@dataclass(frozen=True, slots=True)
class Poem:
    """A title and lines of verse, each with its punctuation; a line of the Tang corpus is a couplet: 5，5。 7，7。"""

    title: str
    couplets: tuple[str, ...]
    author: str = ""

    @property
    def text(self) -> str:
        """The lines, one below the other, without the title."""
        return "\n".join(self.couplets)

    @property
    def wording(self) -> str:
        """The text without its punctuation; poems of one wording are copies."""
        return re.sub(r"\W", "", self.text)


@dataclass(frozen=True)
class Corpus:
    """What `read_corpus` found: `read` poems, of which `dropped` counts those that are not kept, by reason."""

    poems: list[Poem]
    read: int
    dropped: dict[str, int]


def read_corpus(
    source: str,
    columns: dict[str, str | None] | None = None,
    min_couplets: int = 1,
    equal_couplets: bool = False,
    forbidden: str = "",
) -> Corpus:
    """Reads every poem of `source` and keeps the clean ones, in the order of the files.

    A poem is dropped that has fewer than `min_couplets` lines, whose lines differ in length (if `equal_couplets`), or that
    has one of the `forbidden` characters in its title or lines. The tutorial's rules are 2, True and "□(（"; by default
    only poems without lines go. `columns` names the columns of "title", "lines" and "author" where they are unusual.

    Raises a UserError for a source that is missing, empty, in another encoding, broken (file, line and cause), without
    the columns (and lists those found), or without any poem that is kept.
    """
    poems, dropped, read = [], Counter[str](), 0
    for where, record in _records(source):
        poem = _poem(record, columns or {}, where)
        read += 1
        if reason := _reason_to_drop(poem, min_couplets, equal_couplets, forbidden):
            dropped[reason] += 1
        else:
            poems.append(poem)
    if not poems:
        reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
        raise UserError(
            f"{source}: no usable poem among {read} ({reasons}); "
            "relax --min_couplets, --equal_couplets or --forbidden, or check the columns"
        )
    return Corpus(poems, read, dict(dropped.most_common()))


def fingerprint(source: str) -> str:
    """SHA-256 over the SHA-256 sums of the source's files, in order: the same for `tang` and for a copy of it.

    A data set on the Hub has the fingerprint of its id alone.
    """
    if names := _downloads(source):
        sums = [held for name in names for held in download.checksums(name).values()]
    elif _is_hub_id(source):
        sums = [source]
    else:
        sums = []
        for path in _locate(source):
            with _readable(path) as file:
                sums.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(sums).encode()).hexdigest()


# ------------------------------------------------------------------------------------------------- the split


@dataclass(frozen=True)
class Split:
    """Three parts of a corpus, and the generator that shuffled it, from which the pairing draws next."""

    pretrain: list[Poem]
    sft: list[Poem]
    dpo: list[Poem]
    rng: random.Random

    @property
    def parts(self) -> tuple[list[Poem], list[Poem], list[Poem]]:
        return self.pretrain, self.sft, self.dpo

    def copies(self) -> dict[str, int]:
        """How many poems are copies of another, and how many of them of one in another part."""
        parts_of: dict[str, list[int]] = {}
        for number, part in enumerate(self.parts):
            for poem in part:
                parts_of.setdefault(poem.wording, []).append(number)
        copied = [numbers for numbers in parts_of.values() if len(numbers) > 1]
        across = [numbers for numbers in copied if len(set(numbers)) > 1]
        return {"poems": sum(map(len, copied)), "across_parts": sum(map(len, across))}


def part_ends(poems: int, ratio: Sequence[int]) -> list[int]:
    """Where each part of so many poems ends; the last is `poems` itself."""
    return [poems * share // sum(ratio) for share in itertools.accumulate(ratio)]


def split_poems(
    poems: Sequence[Poem], seed: int, ratio: Sequence[int], copies_together: bool
) -> Split:
    """Shuffles the poems and cuts them into three parts by `ratio`, as the tutorial does with seed 2024 and 5:3:2.

    The tutorial's copies of a poem fall where they fall. With `copies_together` the poems of one wording are shuffled
    as one and never cut apart, so that no part is evaluated on what another has learned.
    """
    rng = random.Random(seed)
    groups: list[list[Poem]] = [[poem] for poem in poems]
    if copies_together:
        by_wording: dict[str, list[Poem]] = {}
        for poem in poems:
            by_wording.setdefault(poem.wording, []).append(poem)
        groups = list(by_wording.values())
    rng.shuffle(groups)
    parts: list[list[Poem]] = [[], [], []]
    ends = part_ends(len(poems), ratio)
    placed = 0
    for group in groups:
        parts[bisect.bisect_right(ends, placed)] += group
        placed += len(group)
    return Split(parts[0], parts[1], parts[2], rng)


# ------------------------------------------------------------------------------------------- records -> poems


def _poem(record: Any, columns: dict[str, str | None], where: str) -> Poem:
    if not isinstance(record, dict):
        raise UserError(f"{where} is {_kind(record)}, not an object with a title and lines")
    values = {}
    for field, usual in USUAL_COLUMNS.items():
        asked = columns.get(field)
        key = asked or next((name for name in usual if name in record), None)
        if (asked and asked not in record) or (field == "lines" and key is None):
            found = ", ".join(map(str, record))
            raise UserError(
                f"{where}: no {asked or f'key for the {field}'} among its keys ({found}); name it by --{field}_column"
            )
        values[field] = record[key] if key else None
    return Poem(
        title=_one_line(values["title"], f"{where}: the title"),
        couplets=_lines(values["lines"], f"{where}: the lines"),
        author=_one_line(values["author"], f"{where}: the author"),
    )


def _one_line(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise UserError(f"{where} is {_kind(value)}, not text")
    return " ".join(str(value).splitlines()).strip()


def _lines(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):  # one string: by its line ends or, if it has none, by its sentences
        value = value if "\n" in value.strip() else re.sub("(?<=[。！？；])", "\n", value)
    elif isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    else:
        raise UserError(f"{where} are {_kind(value)}, not text or a list of text")
    return tuple(line for line in map(str.strip, value.splitlines()) if line)


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list of " + (", ".join(sorted({_kind(item) for item in value})) or "nothing")
    kinds = {
        dict: "an object",
        str: "text",
        int: "a number",
        float: "a number",
        bool: "true or false",
    }
    return "null" if value is None else kinds.get(type(value), type(value).__name__)


def _reason_to_drop(
    poem: Poem, min_couplets: int, equal_couplets: bool, forbidden: str
) -> str | None:
    if not poem.couplets:
        return "without lines"
    if len(poem.couplets) < min_couplets:
        return f"with fewer than {min_couplets} lines"
    if equal_couplets and len(set(map(len, poem.couplets))) > 1:
        return "with lines of different lengths"
    everything = poem.title + poem.text
    for character in forbidden:
        if character in everything:
            return f"with {character}"
    try:
        everything.encode()
    except (
        UnicodeEncodeError
    ):  # JSON may escape half of a pair ("\ud840"), which no file can hold as UTF-8
        return "with half a character (a lone surrogate)"
    return None


# ------------------------------------------------------------------------------------------ sources -> records


def _records(source: str) -> Records:
    if _is_hub_id(source):
        yield from _hub(source)
        return
    for path in tqdm(_locate(source), desc="reading", unit="file", leave=False, delay=2):
        number = 0
        for number, item in enumerate(READERS[path.suffix.lower()](path), 1):  # noqa: B007
            yield item
        if number == 0:
            raise UserError(f"{path} is empty: it holds no poem")


def _downloads(source: str) -> list[str]:
    names = source.split("+")
    return names if set(names) <= set(download.NAMES) else []


def _is_hub_id(source: str) -> bool:
    """owner/name that is not a path here and does not look like one."""
    path = Path(source)
    return bool(
        re.fullmatch(r"\w[\w.-]*/[\w.-]+", source, re.ASCII)
        and path.suffix.lower() not in READERS
        and not path.exists()
        and not path.parent.exists()
    )


def _locate(source: str) -> list[Path]:
    """The files of a source that is not on the Hub, in reading order; downloads those of `tang` and `song`."""
    if names := _downloads(source):
        return [path for name in names for path in download.fetch(name)]
    path = SAMPLE if source == "sample" else Path(source).expanduser()
    if path.is_dir():
        return _locate_in_folder(path)
    if not path.exists():
        raise UserError(
            f"no corpus at {path}: give a file, a folder, the id of a data set on the Hub (owner/name), "
            "or one of sample, tang, song, tang+song"
        )
    if path.suffix.lower() not in READERS:
        raise UserError(f"{path}: a corpus file ends in one of {', '.join(READERS)}")
    return [path]


def _locate_in_folder(folder: Path) -> list[Path]:
    """The Tang (else the Song) files of a copy of chinese-poetry or of its npm package; else all that can be read."""
    for name in download.NAMES:
        for inner in ("", "全唐诗", "dist/quantangshi", "package/dist/quantangshi"):
            paths = [folder / inner / file for file in download.checksums(name)]
            if found := [path for path in paths if path.is_file()]:
                return found
    if found := sorted(
        path for path in folder.iterdir() if path.suffix.lower() in READERS and path.is_file()
    ):
        return found
    raise UserError(
        f"no poems in the folder {folder}: it has no poet.tang.*.json and no {', '.join(READERS)} file"
    )


def _hub(name: str) -> Records:
    import datasets

    try:
        splits = datasets.load_dataset(name)
    except (
        Exception
    ) as error:  # whatever the library meets, offline or on the Hub, the person needs its last line
        raise UserError(
            f"{name} is neither a path here nor a data set that could be loaded from the Hub ({_last_line(error)}); "
            "check the name and the connection, or download it and give the file"
        ) from error
    for split, rows in splits.items():
        for number, row in enumerate(rows, 1):
            yield f"{name}, {split} row {number}", row


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


# -------------------------------------------------------------------------------------------- files -> records


def _readable(path: Path):
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _decode(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        guess = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "GB18030 or BIG5"
        raise UserError(
            f"{path}, line {line}: not UTF-8 (byte 0x{raw[error.start]:02x}); "
            f"if it is {guess}, convert it: iconv -f {guess.split()[0]} -t UTF-8"
        ) from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line with its end) of a UTF-8 file, without its byte order mark, one in memory at a time."""
    with _readable(path) as file:
        for number in itertools.count(1):
            raw = file.readline(LONGEST_LINE)
            if not raw:
                return
            if len(raw) == LONGEST_LINE:
                raise UserError(
                    f"{path}, line {number}: longer than {LONGEST_LINE:,} bytes; poems stand on short lines"
                )
            yield (
                number,
                _decode(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw, path, number),
            )


def _parse_json(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        cause = str(error)
        if isinstance(error, json.JSONDecodeError):
            line, cause = line + error.lineno - 1, error.msg
        if cause == "Extra data":
            cause += "; a file with one object a line is named .jsonl"
        raise UserError(f"{path}, line {line}: broken JSON ({cause})") from error


def _json(path: Path) -> Records:
    """A list of objects, one object, or an object that holds the list, like {"data": [...]}."""
    with _readable(path) as file:
        text = _decode(file.read().removeprefix(b"\xef\xbb\xbf"), path, 1)
    if not text.strip():
        return
    data = _parse_json(text, path, 1)
    if isinstance(data, dict):
        data = next(filter(_are_objects, data.values()), [data])
    if not isinstance(data, list):
        raise UserError(f"{path} holds {_kind(data)}, not a list of poems")
    for number, record in enumerate(data, 1):
        yield f"{path}, poem {number}", record


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _jsonl(path: Path) -> Records:
    for number, line in text_lines(path):
        if line.strip():
            yield f"{path}, line {number}", _parse_json(line, path, number)


def _csv(path: Path) -> Records:
    """With a header; separated by tabs in a .tsv, else by comma, semicolon or tab, whichever the header has most of. Every cell stays text."""
    lines = (line for _, line in text_lines(path))
    header = next(lines, "")
    if not header.strip():
        return
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    rows = csv.reader(itertools.chain([header], lines), delimiter=separator, strict=True)
    names: list[str] = []
    try:
        names = next(rows)
        named = list(filter(str.strip, names))
        if len(set(named)) < len(named):
            raise UserError(f"{path}: two columns of one name in its header ({', '.join(names)})")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if row and len(row) != len(names):
                raise UserError(
                    f"{where}: {len(row)} cells under a header of {len(names)} ({', '.join(names)})"
                )
            if row:
                yield where, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: broken CSV ({error})") from error


def _parquet(path: Path) -> Records:
    import pyarrow
    import pyarrow.parquet

    number = itertools.count(1)
    try:
        with _readable(path) as file:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=10_000):
                for row in batch.to_pylist():
                    yield f"{path}, row {next(number)}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: broken Parquet ({_last_line(error)})") from error


def _txt(path: Path) -> Records:
    """Poems separated by blank lines; the first line of each is its title.

    With Chinese verse, whose lines end in marks, it may be otherwise, as the beginning of the file shows: a file without titles is verse to
    the last line; titles may be set off by a blank line; a line between title and verse is the author's name.
    """
    blocks = _blocks(path)
    beginning = list(itertools.islice(blocks, 2))
    untitled = bool(beginning) and _is_untitled(beginning[0][1])
    set_off = len(beginning) == 2 and _is_heading(beginning[0][1]) and _is_untitled(beginning[1][1])
    heading: list[str] = []
    for where, block in itertools.chain(beginning, blocks):
        if set_off and _is_heading(block):
            heading = block
        elif untitled or _is_untitled(block):
            title, author = [*heading, None, None][:2]
            yield where, {"title": title, "author": author, "lines": block}
            heading = []
        elif len(block) > 2 and not _is_verse(block[1]) and all(map(_is_verse, block[2:])):
            yield where, {"title": block[0], "author": block[1], "lines": block[2:]}
        else:
            yield where, {"title": block[0], "lines": block[1:]}


def _is_verse(line: str) -> bool:
    """Whether it is Chinese, and ends in a mark as lines of verse do."""
    return bool(LINE_END.match(line.rstrip().rstrip(_CLOSING)[-1:]) and HAN.search(line))


def _is_heading(block: list[str]) -> bool:
    return len(block) <= 2 and not any(map(_is_verse, block))


def _is_untitled(block: list[str]) -> bool:
    """Whether its first line is verse; a title that ends in a mark is shorter than the others, and has no other mark in it."""
    first, rest = block[0], block[1:]
    shorter = (
        rest
        and len(first) < min(map(len, rest))
        and len(LINE_END.findall(first)) < len(LINE_END.findall(rest[0]))
    )
    return _is_verse(first) and not shorter


def _blocks(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Lines with no blank one between them, and where they begin."""
    block: list[str] = []
    start = size = 0
    for number, line in itertools.chain(
        text_lines(path), [(0, "")]
    ):  # the end closes the last poem
        if line.strip():
            start = start if block else number
            block.append(line)
            size += len(line)
            if size > LONGEST_POEM:
                raise UserError(
                    f"{path}, line {start}: a poem of more than {LONGEST_POEM:,} characters; "
                    "poems are separated by blank lines, the first line of each is its title"
                )
        elif block:
            yield f"{path}, line {start}", block
            block, size = [], 0


READERS = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".txt": _txt,
}
