"""Writes the table of odd files in docs/reliability.md.

    python docs/make_odd_files.py

It makes each file, reads it as the data stage does, and notes the poems or the message. A test
compares the table with the one that this command makes.
"""

import gzip
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from poet import errors
from poet.data.options import DataOptions
from poet.data.poems import read_corpus
from poet.data.sets import make_sets
from poet.errors import UserError, shorten
from poet.files import write_text

PAGE = Path(__file__).resolve().parent / "reliability.md"
BEGIN, END = "<!-- odd files: begin -->", "<!-- odd files: end -->"

ROWS = ["春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知多少。"]
POEM = {"title": "春曉", "author": "孟浩然", "paragraphs": ROWS}
TEXT = "春曉\n" + "\n".join(ROWS) + "\n"
JSON = json.dumps([POEM], ensure_ascii=False)
JSONL = json.dumps(POEM, ensure_ascii=False) + "\n"
CSV = f"title,author,text\n春曉,孟浩然,{''.join(ROWS)}\n"

Content = str | bytes | Any  # anything else is written as JSON
Odd = tuple[str, str, Content | Callable[[Path], None]]  # what is odd, path, content


def numbered(count: int) -> list[dict[str, Any]]:
    """Returns `count` different poems in lines of five characters, which alignment prefers."""
    return [
        {"title": f"題{n}", "paragraphs": [f"{chr(0x4E00 + n)}眠不覺曉，處處聞啼鳥。", ROWS[1]]}
        for n in range(count)
    ]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow.parquet

    buffer = io.BytesIO()
    schema = None if rows else pyarrow.schema({"text": pyarrow.string()})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), buffer)
    return buffer.getvalue()


def encodings() -> Iterator[Odd]:
    yield "UTF-8 with a byte order mark", "a.json", b"\xef\xbb\xbf" + JSON.encode()
    yield "a byte order mark inside, from joined files", "a.txt", TEXT + "\n\ufeff" + TEXT
    yield "UTF-16 with a byte order mark", "a.jsonl", JSONL.encode("utf-16")
    yield "UTF-16 without one", "a.txt", "Rain\nThe rain falls.\n".encode("utf-16-le")
    yield "GB18030", "a.txt", TEXT.encode("gb18030")
    yield "Big5", "a.csv", CSV.encode("big5")
    yield "Windows-1252", "a.txt", "Café\nThe café is closed.\n".encode("cp1252")
    yield "a character that is cut off at the end", "a.txt", TEXT.encode() + b"\n\xe6\x98"
    yield "a zero byte", "a.txt", TEXT + "\0\n"
    yield "nothing but zero bytes, as after a power cut", "a.json", bytes(4096)
    yield (
        "half a character (a lone surrogate)",
        "a.json",
        '[{"title": "\\ud840", "text": "一，二。"}]',
    )
    yield "characters beyond the BMP, private ones, emoji", "a.txt", "𠀀\n⿰木木\ue000，😀é。\n"
    yield "terminal escapes in a title", "a.json", [{**POEM, "title": "\x1b[31m春曉\x07"}]


def line_ends() -> Iterator[Odd]:
    yield "CRLF", "a.txt", TEXT.replace("\n", "\r\n")
    yield "CR alone", "a.txt", TEXT.replace("\n", "\r")
    yield "CR alone", "a.jsonl", (JSONL * 2).replace("\n", "\r")
    yield "mixed", "a.txt", f"春曉\r\n{ROWS[0]}\r{ROWS[1]}\n"
    yield "no line break at the end", "a.jsonl", JSONL.strip()
    yield "line breaks inside a title", "a.json", [{**POEM, "title": "春\n曉"}]
    yield "blank rows with wide spaces", "a.txt", TEXT + "\u3000\n \t\n" + TEXT


def json_files() -> Iterator[Odd]:
    yield "cut in the middle", "a.json", JSON[:-30]
    yield "cut in the middle of a row", "a.jsonl", JSONL + JSONL[:40]
    yield "one object per row, named .json", "a.json", JSONL * 2
    yield "two values after each other", "a.json", f"{JSON} {JSON}"
    yield "one object", "a.json", POEM
    yield "a list inside an object", "a.json", {"data": [POEM]}
    yield "an object inside an object", "a.json", {"data": {"poems": [POEM, POEM]}}
    yield "keyed by id", "a.json", {"1": POEM, "2": POEM}
    yield "columns", "a.json", {"title": ["春曉"], "text": ["".join(ROWS)]}
    yield "columns of pandas", "a.json", {"title": {"0": "春曉"}, "text": {"0": "".join(ROWS)}}
    frame = {"columns": ["title", "text"], "index": [0], "data": [["春曉", "".join(ROWS)]]}
    yield "a frame of pandas", "a.json", frame
    yield "a number", "a.json", "3"
    yield "a list of texts", "a.json", ["春眠不覺曉，處處聞啼鳥。"]
    yield (
        "two values for one key",
        "a.json",
        '{"1": {"text": "一，二。"}, "1": {"text": "三，四。"}}',
    )
    yield "100,000 opening brackets", "a.json", "[" * 100_000
    yield "a number of 5,000 digits", "a.json", f'[{{"title": {"9" * 5000}, "text": "一，二。"}}]'
    yield "an empty list", "a.json", "[]"
    yield "single quotes", "a.json", "[{'title': '春曉'}]"


def values() -> Iterator[Odd]:
    yield "a title that is NaN", "a.jsonl", '{"title": NaN, "text": "一，二。"}'
    yield "a title that is true", "a.jsonl", '{"title": true, "text": "一，二。"}'
    yield "a title that is null", "a.jsonl", '{"title": null, "text": "一，二。"}'
    yield "a title that is a number", "a.jsonl", '{"title": 2024, "text": "一，二。"}'
    yield (
        "a title that is a whole number, as pandas writes it",
        "a.jsonl",
        '{"title": 7.0, "text": "一，二。"}',
    )
    yield "a title that is a list", "a.json", [{**POEM, "title": ["春", "曉"]}]
    yield "a title of 100,000 characters", "a.json", [{**POEM, "title": "春" * 100_000}]
    yield "no title", "a.json", [{"text": "一，二。"}]
    full = [{"title": "春曉", "paragraphs": None, "content": "一，二。"}]
    yield "null as paragraphs, and lines in content", "a.json", full
    yield "lines that are a number", "a.json", [{"title": "春曉", "text": 5}]
    yield "lines that are a list of lists", "a.json", [{"title": "春曉", "text": [ROWS]}]
    yield "lines with a null among them", "a.json", [{**POEM, "paragraphs": [ROWS[0], None]}]
    yield "no lines in any record", "a.json", [{**POEM, "paragraphs": []}]
    yield "unknown names of columns", "a.json", [{"topic": "春曉", "speech": "一，二。"}]
    yield "4,000 unknown columns", "a.json", [{f"column {n}": n for n in range(4_000)}]


def tables() -> Iterator[Odd]:
    yield "Chinese names of columns", "a.csv", CSV.replace("title,author,text", "题目,作者,内容")
    yield (
        "names with capitals, spaces and a byte order mark",
        "a.csv",
        "\ufeff Title , Poem Text\n春曉,一，二。\n",
    )
    yield "semicolons", "a.csv", CSV.replace(",", ";")
    yield "`sep=;` in the first row, as Excel writes it", "a.csv", "sep=;\n" + CSV.replace(",", ";")
    yield "no header", "a.csv", CSV.split("\n", 1)[1]
    yield "a header and nothing below", "a.csv", "title,text\n"
    yield "a row with a cell too many", "a.csv", CSV + "夏,無名,一,二\n"
    yield "a row with a cell too few", "a.csv", CSV + "夏,無名\n"
    yield "two columns with one name", "a.csv", "text,text\n一，二。,三，四。\n"
    yield "a quote that does not end", "a.csv", 'title,text\n春曉,"一，二。\n'
    yield (
        "cells like NA, null and 001",
        "a.csv",
        "title,text\nNA,一，二。\nnull,一，二。\n001,一，二。\n",
    )
    yield "a list in a cell, as pandas writes it", "a.csv", f'title,text\n春曉,"{ROWS}"\n'
    yield "a cell of 200,000 characters", "a.csv", f"title,text\n春曉,{'一' * 200_000}\n"
    yield "a cell of 2 million characters", "a.csv", f"title,text\n春曉,{'一' * 2_000_000}\n"
    yield "nulls and NaN", "a.parquet", parquet([{"title": float("nan"), "text": "一，二。"}])
    yield "cut in the middle", "a.parquet", parquet([POEM])[:-40]
    yield "no rows", "a.parquet", parquet([])


def layouts() -> Iterator[Odd]:
    lines = [line for row in ROWS for line in row.replace("，", "，\n").split("\n")]
    bare = [line.rstrip("，。") for line in lines]
    yield "one line per row", "a.txt", "春曉\n" + "\n".join(lines)
    yield "one line per row, no marks", "a.txt", "春曉\n" + "\n".join(bare)
    yield "half-width marks", "a.txt", TEXT.replace("，", ",").replace("。", ".")
    yield "`|` between the lines", "a.jsonl", {"title": "春曉", "content": "|".join(bare)}
    yield "title and text in one row", "a.txt", f"春曉:{''.join(ROWS)}\n" * 3
    yield "numbered poems", "a.txt", f"1. {TEXT}2. {TEXT}"
    yield "headings with #", "a.md", f"# 唐詩\n\n## {TEXT}"
    yield "a poem per row", "a.txt", ("".join(ROWS) + "\n") * 3
    yield "prose", "a.txt", "\n\n".join(["他說這個村子很小，冬天沒有人來。" * 4] * 3)
    yield "titles and no lines", "a.txt", "春曉\n\n登鸛雀樓\n"
    yield "one line of 4 million characters", "a.txt", "字" * 4_000_000
    yield "2 million characters without a blank row", "a.txt", "一，二。\n" * 400_000
    yield "one row of 16 MB", "a.jsonl", b" " * (1 << 24)


def binaries() -> Iterator[Odd]:
    yield "gzip", "a.jsonl.gz", gzip.compress(JSONL.encode(), mtime=0)
    yield "gzip, named .jsonl", "a.jsonl", gzip.compress(JSONL.encode(), mtime=0)
    yield "a workbook, named .csv", "a.csv", b"PK\x03\x04 and so on"
    yield "Parquet, named .json", "a.json", parquet([POEM])
    yield "text, named .parquet", "a.parquet", TEXT
    yield "JSON, named .txt", "a.txt", JSONL
    yield "a table, named .txt", "a.txt", CSV
    yield "a web page, named .md", "a.md", "<!DOCTYPE html>\n<p>春眠不覺曉</p>\n"
    yield "an ending in capitals", "A.TXT", TEXT
    yield "an unknown ending", "a.docx", b"PK\x03\x04"
    yield "empty", "a.txt", b""
    yield "only blank rows", "a.txt", "\n \n\u3000\n"


def folders() -> Iterator[Odd]:
    def files(*names: str) -> Callable[[Path], None]:
        def make(folder: Path) -> None:
            for name in names:
                put(folder / name, {**POEM, "title": Path(name).stem})

        return make

    def links(folder: Path) -> None:
        files("a.json")(folder)
        (folder / "b.json").symlink_to(folder / "nowhere.json")
        (folder / "c.json").symlink_to(folder / "a.json")
        (folder / "circle").symlink_to(folder)

    def empty(folder: Path) -> None:
        files("a.json")(folder)
        put(folder / "b.json", b"")

    def fifo(folder: Path) -> None:
        folder.mkdir()
        os.mkfifo(folder / "a.json")

    def unreadable(folder: Path) -> None:
        folder.mkdir()
        (folder / "a.json").symlink_to("/proc/self/mem")  # its first byte cannot be read

    yield "a folder with subfolders", "", files("b/2.json", "a/1.json", "3.json")
    yield "hidden files and folders", "", files("a.json", ".b.json", ".git/c.json")
    yield "files of other kinds", "", files("a.json", "b.docx", "c.pdf", "README.md", "d.pdf")
    yield "nothing that can be read", "", files("a.docx", "b.pdf")
    yield "nothing at all", "", lambda folder: folder.mkdir()
    yield "an empty file among others", "", empty
    yield "a folder with the name of a file", "x.json", files("x.json/a.json")
    yield "broken links, links to one file, a circle of links", "", links
    yield "a broken link", "b.json", links
    yield "a pipe", "a.json", fifo
    yield "an error of the disk", "a.json", unreadable
    yield "a path that does not exist", "nowhere.jsonl", files("a.json")
    yield "a name with spaces and brackets", "a [1] $x.json", files("a [1] $x.json")


def sizes() -> Iterator[Odd]:
    for count in (1, 2, 9, 10, 20):
        name = f"{count} poem{'s' if count > 1 else ''}, of which all are preferred"
        yield name, "a.json", numbered(count)
    yield "10 poems, all the same", "a.json", [POEM] * 10
    yield (
        "20 documents without titles",
        "a.txt",
        "\n\n".join(f"Text {n}, long." * 9 for n in range(20)),
    )
    yield "20 poems, one of 100,000 characters", "a.json", [
        *numbered(19), {"title": "長", "paragraphs": ROWS * 4_167}
    ]  # fmt: skip


# ------------------------------------------------------------------------------------- the table

GROUPS: dict[str, Callable[[], Iterator[Odd]]] = {
    "encodings": encodings,
    "line ends": line_ends,
    "JSON": json_files,
    "values": values,
    "tables": tables,
    "layouts": layouts,
    "other files": binaries,
    "folders": folders,
    "sizes": sizes,
}


def put(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, bytes):
        if not isinstance(content, str):
            content = json.dumps(content, ensure_ascii=False)
        content = content.encode()
    path.write_bytes(content)


def result(odd: Odd, folder: Path, group: str) -> str:
    """Returns the poems that are read from a file, or the message that refuses it."""
    _, name, content = odd
    if callable(content):
        content(folder)
    else:
        put(folder / name, content)
    path = str(folder / name) if name else str(folder)
    try:
        text = sizes_of(path) if group == "sizes" else poems_of(path)
    except UserError as error:
        text = f"refused: {error}"
    text = re.sub(r"broken Parquet \(.*\)", "broken Parquet (…)", text)  # pyarrow's words change
    return text.replace(f"{folder}/", "").replace(str(folder), "FOLDER")


def poems_of(path: str) -> str:
    corpus = read_corpus(path)
    first = corpus.poems[0]
    words = [first.title or "no title", *filter(None, [first.author]), *first.couplets]
    count = len(corpus.poems)
    counts = f"{count} poem{'s' if count > 1 else ''}"
    dropped = "".join(f", {n} {reason}" for reason, n in corpus.dropped.items())
    notes = [note for note in corpus.notes if not note.startswith("Columns")]
    return " ".join([f"{counts}{dropped}: {shorten(' / '.join(words), 40)}", *notes])


def sizes_of(path: str) -> str:
    rules: dict[str, Any] = {"min_couplets": 1, "equal_couplets": False, "forbidden": ""}
    sets = make_sets(DataOptions(corpus=path, **rules))
    rows = [
        f"{stage} {len(train)} + {len(test)}" for stage, (train, test) in sets.rows.items() if train
    ]
    left_out = [f" {reason}" for reason in sets.left_out.values()]
    return f"rows to train on + held out: {', '.join(rows)}.{''.join(left_out)}"


def table() -> str:
    """Returns the table as Markdown."""
    rows = ["| | input | file | result |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        number, used = 0, set[str]()
        for group, make in GROUPS.items():
            for odd in make():
                number += 1
                text = result(odd, Path(scratch, str(number)), group)
                cells = ["" if group in used else group, odd[0], f"`{odd[1]}`" if odd[1] else ""]
                rows.append("| " + " | ".join(escape(cell) for cell in [*cells, text]) + " |")
                used.add(group)
    return "\n".join(rows) + "\n"


def escape(text: str) -> str:
    """Returns a text for a cell of a table."""
    return shorten(text, 500).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(PAGE, f"{before}{BEGIN}\n{table()}{END}{after}")
    print(f"wrote the table in {PAGE}")


if __name__ == "__main__":
    errors.run(main)
