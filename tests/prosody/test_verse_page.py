"""docs/verse.md: its tables, its poem and its code agree with the package."""

import contextlib
import io
import json
import re

from helpers import ROOT

from poet.prosody.judge import judge
from poet.prosody.names import forms_table, read_rhyme_name, rhymes_table

PAGE = (ROOT / "docs" / "verse.md").read_text(encoding="utf-8")


def rows(first_cell: str) -> list[list[str]]:
    """The rows of the table that starts with this cell, without its two header rows."""
    table = PAGE[PAGE.index(f"| {first_cell} |") :].split("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.split("\n")[2:]]


def test_the_page_has_at_most_700_words():
    assert len(re.findall(r"\S*\w\S*", PAGE)) <= 700


def test_the_table_of_forms_is_that_of_the_package():
    assert rows("Chinese") == [
        [form.chinese, form.pinyin, form.english, str(form.lines), str(form.characters)]
        for form in forms_table()
    ]


def test_each_rhyme_group_can_be_typed_as_the_page_says():
    cells = [row[start : start + 3] for start in (0, 3, 6) for row in rows("group")]
    assert [cell[:2] for cell in cells] == [[row.chinese, row.pinyin] for row in rhymes_table()]
    for group, _, name in cells:
        assert read_rhyme_name(name.strip("`"), level=True) == group


def test_the_poem_is_of_the_embedded_corpus_and_its_tones_are_those_of_the_judge():
    lines = [row[0] for row in rows("line")]
    couplets = ["".join(lines[:2]), "".join(lines[2:])]
    corpus = (ROOT / "poet" / "sample" / "poems.jsonl").read_text(encoding="utf-8").splitlines()
    assert {"title": "夏暮松下", "author": "", "paragraphs": couplets} in map(json.loads, corpus)
    judgment = judge("\n".join(couplets))
    assert judgment.regulated and judgment.rhyme == ("刪",)
    letters = str.maketrans("平仄", "LO")
    assert [row[2].replace(" ", "") for row in rows("line")] == [
        tones.translate(letters) for tones in judgment.tones
    ]


def test_the_code_prints_what_the_page_shows():
    code, printed = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.S).groups()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    assert output.getvalue() == printed
