"""The other formats of a corpus: CSV, Parquet, plain text, and data sets on the Hugging Face Hub.

It knows formats. It does not know which poems are usable. JSON is in `json_reader.py`.
"""

import csv
import itertools
import re
from collections import Counter
from pathlib import Path

from poet.data import layouts
from poet.data.columns import is_usual
from poet.data.json_reader import Records, open_file, text_rows
from poet.errors import UserError, first_line, shorten


def read_csv(path: Path) -> Records:
    """Reads rows under a header. Every cell stays text.

    The separator of a .tsv file is a tab. Otherwise it is the most frequent one of comma,
    semicolon, tab and | in the header, or the one that a first row like `sep=;` names.
    """
    rows_of_text = (row for _, row in text_rows(path))
    header = next((row for row in rows_of_text if row.strip()), "")
    if not header:
        return
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)
    if match := re.fullmatch(r"sep=(.)\s*", header):  # Excel writes it, and reads it
        separator, header = match[1], next(rows_of_text, "")
    csv.field_size_limit(layouts.LONGEST_POEM)
    rows = csv.reader(itertools.chain([header], rows_of_text), delimiter=separator, strict=True)
    try:
        names = next(rows)
        used_names = [name for name in names if name.strip()]
        listed = shorten(", ".join(names))
        if len(set(used_names)) < len(used_names):
            raise UserError(f"{path}: two columns have the same name ({listed}). Rename one.")
        if any(map(layouts.is_line_of_poem, names)):
            raise UserError(
                f"{path}: its first line holds a poem ({listed}). "
                "Put the names of the columns above it, like title,author,text."
            )
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            if row and len(row) != len(names):
                raise UserError(
                    f"{place}: {len(row)} cells under a header of {len(names)} "
                    f"({listed}). Put quotes around a cell that holds a separator."
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
    with open_file(path) as file:
        try:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=10_000):
                for row in batch.to_pylist():
                    yield f"{path}, row {next(number)}", row
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise UserError(
                f"{path}: broken Parquet ({shorten(first_line(error))}). "
                "Download or export it again."
            ) from error


def read_hub(name: str) -> Records:
    """Reads all splits of a data set on the Hugging Face Hub."""
    import datasets

    try:
        splits = datasets.load_dataset(name)
    except Exception as error:  # the library has many kinds of errors, online and offline
        raise UserError(
            f"{name} is not a path on this machine, and the Hub did not send it "
            f"({shorten(first_line(error))}). Check the name and the connection, "
            "or download the data set and pass the file."
        ) from error
    for split, rows in splits.items():
        for number, row in enumerate(rows, 1):
            yield f"{name}, {split} row {number}", row


def read_txt(path: Path, found: Counter[str]) -> Records:
    """Reads plain text and Markdown. `layouts.py` finds the poems in it."""
    rows = ((f"{path}, line {number}", row) for number, row in text_rows(path))
    first = next(((place, row) for place, row in rows if row.strip()), None)
    if first:
        _refuse_other_formats(first[1].strip(), path)
        yield from layouts.read_text(
            itertools.chain([first], rows), path.suffix.lower() == ".md", found
        )


def _refuse_other_formats(row: str, path: Path) -> None:
    """Refuses a file whose first row shows that it is no plain text."""
    likely = ""
    if re.match(r'\{\s*"|\[\s*(\{|$)', row):
        likely = "JSON. Rename it to .jsonl if it has one object per line, else to .json"
    elif re.match("<(!doctype|html|\\?xml)", row, re.IGNORECASE):
        likely = "a web page. Save its text without the tags"
    names = re.split("[,;\t|]", row)
    if any(is_usual(n, "lines") for n in names) and any(is_usual(n, "title") for n in names):
        likely = "a table. Rename it to .csv"
    if likely:
        raise UserError(f"{path} is not plain text. It looks like {likely}.")
