"""Held-out poems come from a run or from a corpus, and poems to judge from any file."""

import json
import re

import pytest

from poet.data import build
from poet.data.options import DataOptions
from poet.errors import UserError
from poet.evaluation import held_out
from poet.evaluation.held_out import find_held_out, read_poems

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"
REGULATED = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"


def test_a_corpus_holds_out_the_poems_that_a_run_of_tang_holds_out(invented, tmp_path):
    corpus = tmp_path / "poems.json"
    records = invented(100)
    corpus.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    build.build_datasets(DataOptions(corpus=str(corpus)), tmp_path / "run")
    run = held_out.load_from_run(tmp_path / "run")
    again = find_held_out(DataOptions(corpus=str(corpus)), [])
    assert again == run
    # The text of pretraining is cut after a title: the first held-out poem has none.
    assert len(run.answers) == 3 and "".join(run.texts).count("題") == 4
    text_of = {record["title"]: "\n".join(record["paragraphs"]) for record in records}
    assert all(poem.text == text_of[poem.asked()] for poem in run.answers)
    assert {poem.text for poem in run.answers}.isdisjoint(again.training)
    # A poem of alignment counts if it is in a pair.
    assert 45 + 27 < len(set(text_of.values()) & set(again.training)) <= 45 + 27 + 18


def test_checkpoints_that_were_trained_on_different_data_are_not_measured_together(
    tmp_path, monkeypatch
):
    for run, seed, corpus in (("a", 1, "here"), ("b", 2, "here"), ("c", 1, "there")):
        (tmp_path / run / "data").mkdir(parents=True)
        made_from = {"corpus": corpus, "preference": run, "fingerprint": "one", "seed": seed}
        (tmp_path / run / "data" / "summary.json").write_text(json.dumps({"made_from": made_from}))
    monkeypatch.setattr(held_out, "load_from_run", lambda run: run)
    a, b, c = (tmp_path / run / "sft" for run in "abc")
    assert find_held_out(None, [a, c]) == tmp_path / "a"
    with pytest.raises(UserError, match="were trained on different data"):
        find_held_out(None, [a, c, b / "checkpoint-2"])


def test_poems_of_a_file_are_read_with_titles_and_without(tmp_path):
    file = tmp_path / "poems.txt"
    file.write_text(f"登樓\n{REGULATED}\n\n{FIVE}\n\n\n", encoding="utf-8")
    assert read_poems(str(file))[0] == [REGULATED, FIVE]
    file.write_text(f"登樓\n\n{REGULATED}\n\n1.\n某人\n{FIVE}\n", encoding="utf-8")
    assert read_poems(str(file))[0] == [REGULATED, FIVE]
    lines = [line + mark for line, mark in re.findall("(\\w+)(\\W)", REGULATED)]
    (tmp_path / "poems.jsonl").write_text(
        json.dumps({"title": "夜", "lines": lines}), encoding="utf-8"
    )
    assert read_poems(str(tmp_path / "poems.jsonl"))[0] == [REGULATED]


@pytest.mark.parametrize(
    ("comma", "stop"),
    [("，\n", "。"), (",", "."), ("，", "。")],
    ids=["one line per row", "narrow marks", "unchanged"],
)
def test_rows_and_the_width_of_marks_do_not_matter(comma, stop, tmp_path):
    text = REGULATED.replace("，", comma).replace("。", stop)
    (tmp_path / "POEMS.TXT").write_text(text, encoding="utf-8")
    assert read_poems(str(tmp_path / "POEMS.TXT"))[0] == [REGULATED]


def test_a_file_without_poems_is_refused_by_name(tmp_path):
    (tmp_path / "prose.txt").write_text("登樓\n石徑幽泉細細流\n松窗夜雨聲", encoding="utf-8")
    with pytest.raises(UserError, match="its lines cannot be found"):
        read_poems(str(tmp_path / "prose.txt"))
    (tmp_path / "gbk.txt").write_bytes(FIVE.encode("gbk"))
    (tmp_path / "empty.txt").write_text("\n \n")
    for name in ("gbk.txt", "empty.txt", "nowhere.txt"):
        with pytest.raises(UserError, match=name):
            read_poems(str(tmp_path / name))
