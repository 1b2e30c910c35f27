"""docs/evaluation.md defines each measure once."""

import re
from dataclasses import fields

from helpers import ROOT

from poet.evaluation.row import Row

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^- (`.*?)(?=\n- |\n\n|\n?\Z)", PAGE, re.MULTILINE | re.DOTALL)


def test_every_measure_has_an_entry_and_every_entry_is_a_measure():
    keys = [key for entry in ENTRIES for key in re.findall(r"`(\w+)`", entry.partition(":")[0])]
    assert sorted(keys) == sorted(field.name for field in fields(Row))


def test_an_entry_names_its_measure_as_the_table_does():
    labels = {field.name: field.metadata["label"] for field in fields(Row)}
    pairs = re.findall(r"^- `(\w+)`, \*\*(.*?)\*\*", PAGE.replace("\n  ", " "), re.MULTILINE)
    assert len(pairs) > 25
    assert {key: labels[key] for key, _ in pairs} == dict(pairs)


def test_an_entry_has_at_most_two_sentences():
    assert ENTRIES and all(len(re.findall(r"\.(?:\s|$)", entry)) <= 2 for entry in ENTRIES)
