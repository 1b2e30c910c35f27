"""The other formats of a corpus: CSV, Parquet, plain text, and data sets on the Hugging Face Hub.

It knows formats. It does not know which poems are usable. JSON is in `json_reader.py`.
"""

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

from poet.data.json_reader import Records, open_file, text_rows
from poet.errors import UserError, first_line
from poet.text import HAN, LINE_END

LONGEST_POEM = 1_000_000  # characters; bounds the memory for a text without blank lines
_CLOSING_QUOTES = "」』”’\"'"

Block = list[str]  # rows of a text file with no blank row between them


def read_csv(path: Path) -> Records:
    """Reads rows under a header. Every cell stays text.

    The separator of a .tsv file is a tab. Otherwise it is the most frequent one of comma,
    semicolon and tab in the header.
    """
    rows_of_text = (row for _, row in text_rows(path))
    header = next(rows_of_text, "")
    if not header.strip():
        return
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)
    rows = csv.reader(itertools.chain([header], rows_of_text), delimiter=separator, strict=True)
    try:
        names = next(rows)
        used_names = [name for name in names if name.strip()]
        if len(set(used_names)) < len(used_names):
            raise UserError(
                f"{path}: two columns have the same name ({', '.join(names)}). Rename one."
            )
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            if row and len(row) != len(names):
                raise UserError(
                    f"{place}: {len(row)} cells under a header of {len(names)} "
                    f"({', '.join(names)}). Put quotes around a cell that holds a separator."
                )
            if row:
                yield place, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise UserError(
            f"{path}, line {rows.line_num}: broken CSV ({error}). Check its quotes."
        ) from error


def read_parquet(path: Path) -> Records:
    """Reads the rows of a Parquet file in batches."""
    import pyarrow
    import pyarrow.parquet

    number = itertools.count(1)
    try:
        with open_file(path) as file:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=10_000):
                for row in batch.to_pylist():
                    yield f"{path}, row {next(number)}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(
            f"{path}: broken Parquet ({first_line(error)}). Download or export it again."
        ) from error


def read_hub(name: str) -> Records:
    """Reads all splits of a data set on the Hugging Face Hub."""
    import datasets

    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # the library has many kinds of errors, online and offline
        raise UserError(
            f"{name} is neither a path here nor a data set that the Hub gives "
            f"({first_line(error)}). Check the name and the connection, "
            "or download the data set and pass the file."
        ) from error
    for split, rows in splits.items():
        for number, row in enumerate(rows, 1):
            yield f"{name}, {split} row {number}", row


def read_txt(path: Path) -> Records:
    """Reads poems separated by blank rows. The first row of a poem is its title.

    Chinese poems end their rows in marks, so titles can be told from lines. The file may then
    have no titles, a blank row after each title, or the author's name below the title.
    """
    blocks = _blocks(path)
    first_two = list(itertools.islice(blocks, 2))
    has_no_titles = bool(first_two) and _has_no_title(first_two[0][1])
    has_headings = (
        len(first_two) == 2 and _is_heading(first_two[0][1]) and _has_no_title(first_two[1][1])
    )
    heading: Block = []
    for place, block in itertools.chain(first_two, blocks):
        if has_headings and _is_heading(block):
            heading = block
        elif has_no_titles or _has_no_title(block):
            title, author = [*heading, None, None][:2]
            yield place, {"title": title, "author": author, "lines": block}
            heading = []
        elif _names_author(block):
            yield place, {"title": block[0], "author": block[1], "lines": block[2:]}
        else:
            yield place, {"title": block[0], "lines": block[1:]}


def _blocks(path: Path) -> Iterator[tuple[str, Block]]:
    """Yields (place of the first row, block)."""
    block: Block = []
    start = size = 0
    end_of_file = (0, "")  # a blank row, so that the last block ends too
    for number, row in itertools.chain(text_rows(path), [end_of_file]):
        if row.strip():
            start = start if block else number
            block.append(row)
            size += len(row)
            if size > LONGEST_POEM:
                raise UserError(
                    f"{path}, line {start}: a poem of more than {LONGEST_POEM:,} characters. "
                    "Separate poems by blank lines. The first line of a poem is its title."
                )
        elif block:
            yield f"{path}, line {start}", block
            block, size = [], 0


def is_line_of_poem(row: str) -> bool:
    """Returns whether a row is Chinese and ends in a mark, as lines of poems do."""
    last_character = row.rstrip().rstrip(_CLOSING_QUOTES)[-1:]
    return bool(LINE_END.match(last_character) and HAN.search(row))


def _is_heading(block: Block) -> bool:
    """Returns whether a block holds no lines. It is then a heading: title and author."""
    return len(block) <= 2 and not any(map(is_line_of_poem, block))


def _has_no_title(block: Block) -> bool:
    """Returns whether the first row already belongs to the poem.

    A title may end in a mark too. It is then shorter than all other rows and has fewer marks.
    """
    first, rest = block[0], block[1:]
    looks_like_title = (
        rest
        and len(first) < min(map(len, rest))
        and len(LINE_END.findall(first)) < len(LINE_END.findall(rest[0]))
    )
    return is_line_of_poem(first) and not looks_like_title


def _names_author(block: Block) -> bool:
    """Returns whether the second row is an author's name: all rows after it are lines."""
    return len(block) > 2 and not is_line_of_poem(block[1]) and all(map(is_line_of_poem, block[2:]))


READERS = {".csv": read_csv, ".tsv": read_csv, ".parquet": read_parquet, ".txt": read_txt}
