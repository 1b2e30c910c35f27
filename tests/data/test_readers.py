"""Sources and formats of a corpus, and the faults of its files."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.data import sources
from poet.data.poems import Poem, read_corpus
from poet.data.sources import fingerprint
from poet.errors import UserError

RULES = {"min_couplets": 2, "equal_couplets": True, "forbidden": "□(（"}
POEM = Poem("春", ("一二三四五，六七八九十。", "甲乙丙丁戊，己庚辛壬癸。"), "無名")
RECORD = {"title": POEM.title, "author": POEM.author, "paragraphs": list(POEM.couplets)}


def write(path: Path, content: str | bytes | object) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8", newline="")
    else:
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(path)


# ------------------------------------------------------------------------------------ reading

TEXT = "春\n一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。\n"
JSON = json.dumps([RECORD], ensure_ascii=False)
CSV = f'title,author,lines\n春,無名,"{POEM.text}"\n'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("poems.json", JSON),
        ("poems.json", b"\xef\xbb\xbf" + JSON.encode()),
        ("poems.json", {"data": [RECORD]}),
        ("poems.json", RECORD),
        ("poems.json", [{**RECORD, "paragraphs": POEM.text}]),
        ("poems.json", [{**RECORD, "paragraphs": POEM.text.replace("\n", "\r\n")}]),
        ("poems.json", [{**RECORD, "paragraphs": POEM.text.replace("\n", "")}]),
        ("poems.json", [{"title": "春", "author": "無名", "content": list(POEM.couplets)}]),
        ("poems.json", [{"title": "春", "author": "無名", "para": list(POEM.couplets)}]),
        ("poems.json", [{"title": "春", "author": "無名", "body": POEM.text}]),
        ("poems.jsonl", JSON[1:-1] + "\r\n\r\n"),
        ("poems.jsonl", b"\xef\xbb\xbf" + JSON[1:-1].encode()),
        ("poems.csv", CSV),
        ("poems.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("poems.csv", CSV.replace("\n", "\r\n")),
        ("poems.csv", CSV.replace(",", ";")),
        ("poems.tsv", CSV.replace(",", "\t")),
    ],
)
def test_every_format_gives_the_same_poem(tmp_path, name, content):
    assert read_corpus(write(tmp_path / name, content), **RULES).poems == [POEM]


@pytest.mark.parametrize(
    "content", [TEXT, "\n\n" + TEXT, TEXT.replace("\n", "\r\n"), b"\xef\xbb\xbf" + TEXT.encode()]
)
def test_plain_text_starts_with_the_title(tmp_path, content):
    assert read_corpus(write(tmp_path / "poems.txt", content)).poems == [
        Poem(POEM.title, POEM.couplets)
    ]


def test_blank_lines_separate_poems(tmp_path):
    source = write(tmp_path / "poems.txt", "春\n甲。\n乙。\n \n\n夏\n丙。\n\n秋\n丁。")
    assert read_corpus(source).poems == [
        Poem("春", ("甲。", "乙。")),
        Poem("夏", ("丙。",)),
        Poem("秋", ("丁。",)),
    ]


@pytest.mark.parametrize(
    ("content", "poems"),
    [
        ("春來，草生。\n花開，鳥鳴。\n\n夏至，蟬鳴。\n", [("", "", 2), ("", "", 1)]),
        ("春\n\n春來，草生。\n花開，鳥鳴。\n\n夏\n\n夏至，蟬鳴。", [("春", "", 2), ("夏", "", 1)]),
        (
            "1.\n無名\n春來,草生.\n花開,鳥鳴.\n\n夏，一首\n夏至，蟬鳴。」",
            [("1.", "無名", 2), ("夏，一首", "", 1)],
        ),
        (
            "何處酒？\n春來，草生。\n花開，鳥鳴。\n\n夏\n夏至，蟬鳴。",
            [("何處酒？", "", 2), ("夏", "", 1)],
        ),
        (
            "春\n無名\n\n春來，草生。\n\n夏\n無名\n\n夏至，蟬鳴。",
            [("春", "無名", 1), ("夏", "無名", 1)],
        ),
        (
            "春來，草生。\n花開，鳥\n\n花\n\n夏至蟬鳴鳥不鳴\n花開，鳥鳴。",
            [("", "", 2), ("", "", 1), ("", "", 2)],
        ),
        (
            "Spring, one\nThe grass is green.\n\nWinter.\nA bird, a bird.",
            [("Spring, one", "", 1), ("Winter.", "", 1)],
        ),
    ],
)
def test_plain_text_may_lack_titles_or_name_authors(tmp_path, content, poems):
    corpus = read_corpus(write(tmp_path / "poems.txt", content))
    assert [(p.title, p.author, len(p.couplets)) for p in corpus.poems] == poems


@pytest.mark.parametrize(
    ("title", "read"),
    [(None, ""), (7, "7"), ("001", "001"), ("春\n夏", "春 夏"), ("甲\t乙", "甲\t乙")],
)
def test_titles_become_text(tmp_path, title, read):
    source = write(tmp_path / "poems.json", [{**RECORD, "title": title}])
    assert read_corpus(source).poems[0].title == read


def test_a_missing_title_is_empty(tmp_path):
    assert read_corpus(write(tmp_path / "poems.json", [{"content": POEM.text}])).poems == [
        Poem("", POEM.couplets)
    ]


@pytest.mark.parametrize("title", ["NA", "null", "001", "nan", "1e5", "True"])
def test_csv_cells_stay_text(tmp_path, title):
    assert (
        read_corpus(write(tmp_path / "poems.csv", CSV.replace("春", title))).poems[0].title == title
    )


def test_columns_can_be_named(tmp_path):
    source = write(
        tmp_path / "poems.json", [{"題": "春", "詩": POEM.text, "人": "無名", "text": "a note"}]
    )
    assert read_corpus(source, {"title": "題", "lines": "詩", "author": "人"}).poems == [POEM]


def test_rare_characters_are_kept(tmp_path):
    lines = ("𠀀\ue000一，二三\uf92c。", "⿰木木é，カЖ😀。")
    assert (
        read_corpus(write(tmp_path / "poems.json", [{"title": "\U0002f800", "lines": lines}]))
        .poems[0]
        .couplets
        == lines
    )


# Marks and | part the lines of a poem. Few characters per row keep it from being a line of verse.
TITLES = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"], exclude_characters="|"),
    min_size=1,
    max_size=3,
)
POEMS = st.lists(
    st.builds(Poem, TITLES, st.lists(TITLES, min_size=2, max_size=4).map(tuple)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=50, deadline=None)
@given(POEMS)
def test_formats_agree_on_any_poems(tmp_path_factory, poems):
    folder = tmp_path_factory.mktemp("formats")
    records = [{"title": poem.title, "lines": list(poem.couplets)} for poem in poems]
    write(folder / "a.json", records)
    write(folder / "b.jsonl", "\n".join(json.dumps(record) for record in records))
    with (folder / "c.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("title", "lines"), *((poem.title, poem.text) for poem in poems)]
        )
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), folder / "d.parquet")
    same = read_corpus(str(folder / "a.json")).poems
    assert [poem.title for poem in same] == [poem.title for poem in poems]
    assert read_corpus(str(folder)).poems == same * 4  # all files of a folder, sorted by name


@pytest.mark.parametrize("inner", ["", "全唐诗", "dist/quantangshi", "package/dist/quantangshi"])
def test_a_copy_of_the_repository_is_read_in_numeric_order(tmp_path, inner):
    for number in (10000, 0, 2000):
        write(tmp_path / inner / f"poet.tang.{number}.json", [{**RECORD, "title": str(number)}])
    write(tmp_path / inner / "authors.tang.json", [{"name": "無名", "desc": ""}])
    write(tmp_path / inner / "poet.song.0.json", [{**RECORD, "title": "Song"}])
    assert [poem.title for poem in read_corpus(str(tmp_path)).poems] == ["0", "2000", "10000"]


def test_a_folder_may_hold_only_song_files(tmp_path):
    write(tmp_path / "poet.song.0.json", [RECORD])
    assert read_corpus(str(tmp_path)).poems == [POEM]


def test_subfolders_are_read_in_the_order_of_their_paths(tmp_path):
    for name in ("b/1.json", "a/2.json", "a/b/c/3.json", "a.json", ".git/x.json", ".x.json"):
        write(tmp_path / name, [{**RECORD, "title": name}])
    write(tmp_path / "__MACOSX" / "a.json", b"not text \xff")
    titles = [poem.title for poem in read_corpus(str(tmp_path)).poems]
    assert titles == ["a/2.json", "a/b/c/3.json", "a.json", "b/1.json"]
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    assert [poem.title for poem in read_corpus(f"{moved}/").poems] == titles


def test_files_that_are_not_read_are_counted(tmp_path):
    write(tmp_path / "a.json", [RECORD])
    for name in ("x.docx", "sub/y.DOCX", "z.pdf", "Makefile", "README.md", "sub/LICENSE.txt"):
        write(tmp_path / name, "nothing to read")
    corpus = read_corpus(str(tmp_path))
    assert corpus.poems == [POEM]
    assert corpus.notes[-1] == (
        "6 files were not read: 2 .docx, 1 .pdf, 1 LICENSE.txt, 1 README.md, 1 without an ending."
    )
    write(tmp_path / "sub" / "README.md", f"# 春\n{POEM.text}")
    assert read_corpus(str(tmp_path / "sub" / "README.md")).poems[0].couplets == POEM.couplets


def test_the_columns_of_tables_are_noted_beside_layouts(tmp_path):
    write(tmp_path / "a.txt", TEXT)
    write(tmp_path / "b.csv", CSV.replace("title,author,lines", "題目,作者,內容"))
    assert read_corpus(str(tmp_path)).notes == [
        "1 file holds poems that begin with a title, separated by blank rows.",
        "Columns: title from 題目 (1); lines from 內容 (1); author from 作者 (1).",
    ]


def test_links_are_followed_once(tmp_path):
    write(tmp_path / "corpus" / "a.json", [RECORD])
    write(tmp_path / "elsewhere" / "b.json", [{**RECORD, "title": "夏"}])
    (tmp_path / "corpus" / "away").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "same.json").symlink_to(tmp_path / "corpus" / "a.json")
    (tmp_path / "corpus" / "broken.json").symlink_to(tmp_path / "nowhere.json")
    corpus = read_corpus(str(tmp_path / "corpus"))
    assert sorted(poem.title for poem in corpus.poems) == ["夏", "春"]
    assert "2 files were not read" in corpus.notes[-1]
    with pytest.raises(UserError, match="a link to .*nowhere.json, which is not there"):
        read_corpus(str(tmp_path / "corpus" / "broken.json"))


def test_a_data_set_of_the_hub_is_read(monkeypatch):
    rows = {"title": ["春", "夏"], "content": [POEM.text, POEM.text]}
    hub = {"somebody/poems": datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)})}
    monkeypatch.setattr(datasets, "load_dataset", hub.__getitem__)
    assert [poem.title for poem in read_corpus("somebody/poems").poems] == ["春", "夏"]


# ------------------------------------------------------------------------------------- errors

CUT_JSON = json.dumps([RECORD] * 3, ensure_ascii=False, indent=1)[:-60]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", "", ["a.json", "empty"]),
        ("a.json", " \n", ["a.json", "empty"]),
        ("a.json", "[]", ["a.json", "no poem"]),
        ("a.json", "3", ["a.json", "a number"]),
        ("a.json", CUT_JSON, ["a.json", f"line {CUT_JSON.count(chr(10)) + 1}", "broken JSON"]),
        ("a.json", '[\n{"title": "a" 1}\n]', ["a.json", "line 2", "delimiter"]),
        ("a.json", f"{JSON[1:-1]},\n{JSON[1:-1]}", ["a.json", "line 1", "Extra data", ".jsonl"]),
        ("a.json", "[" * 100_000, ["a.json", "broken JSON", "nested too deeply"]),
        ("a.json", '["春"]', ["a.json, poem 1", "text"]),
        (
            "a.json",
            [{"title": "春", "note": "x"}],
            ["a.json, poem 1", "title, note", "--lines_column"],
        ),
        (
            "a.json",
            [{"title": ["春"], "lines": "x"}],
            ["a.json, poem 1", "title", "a list of text"],
        ),
        (
            "a.json",
            [RECORD, {"title": "春", "lines": [1, None]}],
            ["a.json, poem 2", "a list of a number, null"],
        ),
        ("a.jsonl", f'{JSON[1:-1]}\n{{"title": ', ["a.jsonl, line 2", "broken JSON"]),
        ("a.jsonl", "", ["a.jsonl", "empty"]),
        ("a.csv", "", ["a.csv", "empty"]),
        (
            "a.csv",
            "text,text,,\na,b,,\n",
            ["a.csv", "two columns have the same name", "text, text"],
        ),
        ("a.csv", "title,lines\n", ["a.csv", "empty"]),
        ("a.csv", "title,speech\na,b\n", ["a.csv, line 2", "title, speech", "--lines_column"]),
        ("a.csv", "title,lines\na,b\na,b,c\n", ["a.csv, line 3", "3 cells", "2 (title, lines)"]),
        ("a.csv", 'title,lines\na,"b\n', ["a.csv, line 2", "broken CSV"]),
        ("a.csv", f"title,lines\na,{'字' * 1_200_000}\n", ["a.csv, line 2", "broken CSV", "field"]),
        ("a.parquet", b"PAR1 not really", ["a.parquet", "broken Parquet"]),
        ("a.txt", "", ["a.txt", "empty"]),
        ("a.txt", "字" * 4_000_000, ["a.txt, line 1", "1,000,000 characters"]),
        ("a.txt", "字\n" * 600_000, ["a.txt, line 1", "blank lines"]),
        ("a.txt", b"x" * (1 << 24) + b"\n", ["a.txt, line 1", "16,777,216 bytes"]),
        ("a.txt", "題\n\n題\n", ["a.txt has no usable", "2 without couplets. Check the"]),
        (
            "a.json",
            '[{"title": "\\ud840", "lines": "x"}]',
            ["a.json has no usable poem", "lone surrogate). Correct these characters."],
        ),
        ("a.docx", b"x", ["a.docx", ".jsonl", ".txt"]),
        ("a.txt", "\n" + JSON, ["a.txt", "JSON", "Rename it to .jsonl"]),
        ("a.txt", "Title;Author;Text\n春;無名;一，二。", ["a.txt", "a table", "Rename it to .csv"]),
        ("a.md", "<html>\n一，二。", ["a.md", "a web page"]),
        ("a.txt", TEXT.encode("gb18030"), ["a.txt, line 1", "not UTF-8", "iconv -f GB18030"]),
        ("a.txt", b"ok\n" + TEXT.encode("big5"), ["a.txt, line 2", "not UTF-8", "or with -f BIG5"]),
        ("a.csv", CSV.encode("gb18030"), ["a.csv, line 2", "not UTF-8"]),
        ("a.json", JSON.encode("utf-16"), ["a.json, line 1", "iconv -f UTF-16"]),
        ("a.jsonl", JSON[1:-1].encode("utf-16"), ["a.jsonl, line 1", "UTF-16"]),
        ("a.json", b'[\n{"title": "\xff"}]', ["a.json, line 2", "0xff"]),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else "",
)
def test_an_error_names_file_line_and_cause(tmp_path, name, content, words):
    with pytest.raises(UserError) as caught:
        read_corpus(write(tmp_path / name, content))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.json", ["no corpus at nowhere.json", "tang"]),
        ("tangs", ["no corpus at tangs", "sample, tang, song"]),
        ("nowhere/poems", ["nowhere/poems", "not a path on this machine", "Hub"]),
        ("", ["no poems in the folder"]),
    ],
)
def test_a_missing_source_is_an_error_with_advice(tmp_path, monkeypatch, source, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        read_corpus(source)
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_empty_file_is_named(tmp_path):
    write(tmp_path / "a.json", [RECORD])
    write(tmp_path / "b.json", "[]")
    with pytest.raises(UserError, match=r"b\.json is empty"):
        read_corpus(str(tmp_path))


def test_a_missing_column_lists_the_columns(tmp_path):
    with pytest.raises(
        UserError,
        match="no 題 among its columns .title, author, paragraphs.*--title_column",
    ):
        read_corpus(write(tmp_path / "a.json", [RECORD]), {"title": "題"})


def test_a_copy_has_the_same_fingerprint(tmp_path):
    first = write(tmp_path / "a.json", [RECORD])
    second = write(tmp_path / "elsewhere" / "b.json", [RECORD])
    third = write(tmp_path / "c.json", [{**RECORD, "title": "夏"}])
    assert fingerprint(first) == fingerprint(second) != fingerprint(third)


def test_a_local_tang_corpus_has_the_fingerprint_of_tang(tang):
    assert fingerprint(tang) == fingerprint("tang")


def test_a_missing_sample_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "SAMPLE", tmp_path / "poems.jsonl")
    with pytest.raises(UserError, match="no corpus at"):
        read_corpus("sample")


def test_the_sample_is_read_without_the_other_formats():
    code = (
        "import sys; from poet.data.poems import read_corpus; read_corpus('sample');"
        "others = {'poet.data.readers', 'poet.data.download', 'pyarrow', 'datasets'};"
        "print(*(others & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
