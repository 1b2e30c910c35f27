"""Columns: their names, missing values, and the ways to arrange records in a file."""

import json

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.data.columns import USUAL_COLUMNS, document_of, fields_of
from poet.data.poems import Poem, read_corpus
from poet.errors import UserError, shorten

POEM = Poem("春曉", ("春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知多少。"), "孟浩然")
RECORD = {"title": POEM.title, "author": POEM.author, "content": POEM.text}
RECORDS = [RECORD, {**RECORD, "title": "夏"}]


def write(path, content) -> str:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return str(path)


def read(record: dict, **columns) -> Poem:
    return Poem(**fields_of(record, columns, "a place"))


# ------------------------------------------------------------------------------ missing values

NAN = float("nan")


@pytest.mark.parametrize("title", ["NaN", "Infinity", "null", "true", "false", '""', '"  "', "[]"])
def test_a_title_that_says_nothing_is_empty(tmp_path, title):
    row = f'{{"title": {title}, "author": {title}, "content": "一二三，四五六。"}}'
    poem = Poem("", ("一二三，四五六。",))
    assert read_corpus(write(tmp_path / "a.jsonl", row)).poems == [poem]
    assert read_corpus(write(tmp_path / "a.json", row)).poems == [poem]


@pytest.mark.parametrize(
    ("title", "read_as"),
    [(2024, "2024"), (1.0, "1"), (1.5, "1.5"), (0, "0"), (-3, "-3"), (1e300, "1e+300"), ("7", "7")],
)
def test_a_number_as_title_is_text(title, read_as):
    assert read({**RECORD, "title": title}).title == read_as


@pytest.mark.parametrize("empty", [None, NAN, True, False, "", " \n", [], [None], ["", NAN]])
def test_the_first_column_that_holds_something_is_read(empty):
    assert read({"title": empty, "name": "春曉", "paragraphs": empty, **RECORD}).couplets == (
        POEM.couplets
    )
    named = {"title": empty, "name": "春曉", "paragraphs": empty, "content": POEM.text}
    assert read(named) == Poem("春曉", POEM.couplets)
    assert read({"title": "春曉", "paragraphs": empty}).couplets == ()


def test_records_may_use_several_columns(tmp_path):
    rows = [
        {"title": "春", "paragraphs": list(POEM.couplets), "content": None},
        {"title": "夏", "paragraphs": None, "content": POEM.text},
        {"title": "秋", "content": POEM.text},
    ]
    corpus = read_corpus(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert corpus.poems == [Poem(title, POEM.couplets) for title in "春夏秋"]
    assert corpus.dropped == {}
    assert "lines from content (2), paragraphs (1)" in corpus.notes[0]


def test_missing_rows_of_a_poem_are_left_out():
    rows = [POEM.couplets[0], None, NAN, POEM.couplets[1]]
    assert read({"title": "春曉", "paragraphs": rows}).couplets == POEM.couplets


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "parquet", "split", "index", "records"])
def test_what_pandas_writes_is_read(tmp_path, format):
    frame = pandas.DataFrame(
        {"title": [1, None, 3], "author": [None, "孟浩然", None], "content": [POEM.text] * 3}
    )
    path = tmp_path / f"a.{format if format in ('jsonl', 'csv', 'parquet') else 'json'}"
    if format == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif format == "csv":
        frame.to_csv(path)
    elif format == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_json(path, orient="columns" if format == "json" else format)
    poems = read_corpus(str(path)).poems
    titles = ["1.0", "", "3.0"] if format == "csv" else ["1", "", "3"]  # cells of CSV stay text
    assert [poem.title for poem in poems] == titles
    assert [poem.author for poem in poems] == ["", "孟浩然", ""]
    assert {poem.couplets for poem in poems} == {POEM.couplets}


def test_a_list_in_a_cell_of_pandas_is_read(tmp_path):
    frame = pandas.DataFrame({"title": ["春曉"], "paragraphs": [list(POEM.couplets)]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert read_corpus(str(tmp_path / "a.csv")).poems == [Poem("春曉", POEM.couplets)]


def test_nulls_of_parquet_are_missing_values(tmp_path):
    columns = {
        "title": pyarrow.array([None, NAN], pyarrow.float64()),
        "paragraphs": pyarrow.array([None, [None, POEM.couplets[0]]]),
        "content": pyarrow.array([POEM.text, None]),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    assert read_corpus(str(tmp_path / "a.parquet")).poems == [
        Poem("", POEM.couplets),
        Poem("", POEM.couplets[:1]),
    ]


# -------------------------------------------------------------------------------- their names


@pytest.mark.parametrize(
    "header",
    [
        "题目,作者,内容", "題目,作者,內容", "标题,诗人,正文", "標題,詩人,詩文", "诗题,作者,诗文",
        "題,作者,詩", "诗名,作者,原文", "名稱,作者,詩句", "题目,作者,诗词", "篇名,作者,全文",
        "Title,Poet,Poem", "TITLE,AUTHOR,TEXT", "name,artist,lyrics", "headline,writer,body",
        "subject,author,content", "Poem Title,Poet Name,Poem Text", "poem_title,author_name,verses",
        " title , author , text ", "\ufefftitle,\ufeffauthor,\ufefftext", "title,author,verse",
    ],
)  # fmt: skip
def test_common_names_of_columns_are_known(tmp_path, header):
    source = write(tmp_path / "a.csv", f'{header}\n春曉,孟浩然,"{POEM.text}"\n')
    assert read_corpus(source).poems == [POEM]


def test_no_name_means_two_things():
    names = [name for usual in USUAL_COLUMNS.values() for name in usual]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("named", ["1", "０"])
def test_columns_without_names_are_named_by_their_number(tmp_path, named):
    frame = pandas.DataFrame([[POEM.title, POEM.text, "a note"]])
    frame.columns = ["0", named, "2"]
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_json(tmp_path / "b.json", orient="records")
    frame.to_parquet(tmp_path / "c.parquet")
    columns = {"title": "0", "lines": named}
    poems = read_corpus(str(tmp_path), columns).poems
    assert poems == [Poem(POEM.title, POEM.couplets)] * 3
    assert read({0: "春曉", 1: POEM.text}, title="0", lines="1").title == "春曉"


def test_a_named_column_wins_over_the_usual_ones():
    record = {"Title": "usual", "TITLE": "exact", "content": POEM.text}
    assert read(record).title == "usual"
    assert read(record, title="TITLE").title == "exact"
    assert read({**RECORD, "Notes": "一，二。"}, lines="notes").couplets == ("一，二。",)


# -------------------------------------------------------------------------- records in a file


@pytest.mark.parametrize(
    "content",
    [
        RECORDS,
        {"data": RECORDS},
        {"count": 2, "poems": RECORDS, "tags": ["a"]},
        {"data": {"poems": RECORDS}},
        {"1": RECORDS[0], "2": RECORDS[1]},
        {"poems": {"1": RECORDS[0], "2": RECORDS[1]}},
        {key: [record[key] for record in RECORDS] for key in RECORD},
        {key: {str(n): record[key] for n, record in enumerate(RECORDS)} for key in RECORD},
        "\n".join(json.dumps(record) for record in RECORDS),
        "\r".join(json.dumps(record) for record in RECORDS),
    ],
)
def test_every_usual_arrangement_of_json_is_read(tmp_path, content):
    assert [poem.title for poem in read_corpus(write(tmp_path / "a.json", content)).poems] == [
        "春曉",
        "夏",
    ]


def test_four_thousand_poems_keyed_by_id_are_read(tmp_path):
    source = write(tmp_path / "a.json", {f"id-{n}": RECORD for n in range(4_000)})
    assert read_corpus(source).poems == [POEM] * 4_000


def test_two_values_for_one_key_are_refused(tmp_path):
    content = '{"1": {"content": "一，二。"}, "1": {"content": "三，四。"}}'
    with pytest.raises(UserError, match="two values for the key 1 in one object"):
        read_corpus(write(tmp_path / "a.json", content))
    same = '{"title": "春", "title": "春", "content": "一，二。"}'
    assert read_corpus(write(tmp_path / "a.json", same)).poems[0].title == "春"


# ----------------------------------------------------------------------------------- messages


def test_no_message_is_long(tmp_path):
    names = [f"column {n}" for n in range(4_000)]
    contents = {
        "a.csv": ",".join(names) + "\n" + ",".join("x" for _ in names),
        "b.csv": ",".join(["same"] * 4_000) + "\n",
        "c.csv": ",".join(names) + "\na,b",
        "d.json": {name: "x" for name in names},
        "e.json": [{"x" * 100_000: 1}],
        "f.jsonl": json.dumps({name: {} for name in names}),
        "g.json": '{"' + "k" * 90_000 + '": 1, "' + "k" * 90_000 + '": 2}',
        "h.csv": "一" * 90_000 + "，二。,b\n",
        "i.json": [{"title": {name: 1 for name in names}, "text": "x"}],
        "j.json": [{"text": [[[n]] for n in range(10_000)]}],
    }
    for name, content in contents.items():
        with pytest.raises(UserError) as caught:
            read_corpus(write(tmp_path / name, content))
        message = str(caught.value).replace(str(tmp_path), "")
        assert len(message) < 400 and "\n" not in message, name
        assert name in message


@settings(max_examples=100, deadline=None)
@given(st.text(), st.integers(min_value=1, max_value=300))
def test_a_quotation_is_one_short_row(text, length):
    quoted = shorten(text, length)
    assert len(quoted) <= length + 1 and quoted.isprintable()
    if text.isprintable() and " " not in text and len(text) <= length:
        assert quoted == text


def test_a_message_names_an_option_of_the_data():
    from dataclasses import fields

    from poet.data.options import DataOptions

    options = {field.name for field in fields(DataOptions)}
    for field in USUAL_COLUMNS:
        with pytest.raises(UserError) as caught:
            read({"note": "x", "text": "y"}, **{field: "題"})
        assert f"--{field}_column" in str(caught.value)
        assert f"{field}_column" in options


def test_a_value_of_the_wrong_kind_is_named():
    with pytest.raises(UserError, match="the title is an object. It must be text"):
        read({**RECORD, "title": {"zh": "春"}})
    with pytest.raises(UserError, match="the lines are a number"):
        read({"title": "春", "text": 5})


def test_a_document_keeps_its_rows_and_marks():
    rows = [
        {"text": "One line,\nanother line.\n\nA stanza."},
        {"text": ["他說好,", "", "走了."]},
        {"text": None, "content": "一二三四五|六七八九十"},
        {"text": ""},
    ]
    assert [document_of(row, {}, "a.jsonl, line 1") for row in rows] == [
        "One line,\nanother line.\n\nA stanza.",
        "他說好,\n\n走了.",
        "一二三四五|六七八九十",
        "",
    ]


def test_control_characters_and_byte_order_marks_are_left_out():
    record = {"title": "\x1b[31m春\x07\ufeff", "text": "\ufeff一，\x00二。", "author": "\x7f"}
    assert read(record) == Poem("春", ("一，二。",), "")
