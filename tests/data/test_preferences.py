"""The poems that each preference prefers."""

import json

import pytest

from poet.data import preferences
from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.data.poems import Poem
from poet.data.rows import content, split_title
from poet.data.run_data import load_stage, training_poems
from poet.errors import UserError

REGULATED = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒城。"))
# Line 4 repeats the tones of line 3. They should be opposite.
RHYMED = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，寒山白雪明。"))
PLAIN = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒山。"))


@pytest.mark.parametrize(
    ("name", "prefers"),
    [
        ("five-character", {5: True, 7: False}),
        ("seven-character", {5: False, 7: True}),
        ("quatrain", {5: True, 7: True}),
    ],
)
def test_line_length_and_size_are_preferences(name, prefers):
    for length, is_preferred in prefers.items():
        line = "字" * length + "，" + "字" * length + "。"
        assert preferences.get(name)(Poem("", (line, line))) is is_preferred


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("rhymed", [REGULATED, RHYMED]),
        ("regulated", [REGULATED]),
        ("five-character", [REGULATED, RHYMED, PLAIN]),
    ],
)
def test_verse_rules_are_preferences(name, kept):
    assert [poem for poem in (REGULATED, RHYMED, PLAIN) if preferences.get(name)(poem)] == kept


def test_a_novel_poem_repeats_no_line_of_the_training_poems():
    novel = preferences.get("novel", [PLAIN])
    one_line = Poem("", ("春夜喜雨山，白髮對寒山！", "東西南北中，一二三四五。"))
    assert not novel(PLAIN) and not novel(one_line)
    assert novel(Poem("", ("春夜喜雨山，東西南北中。", "一二三四五，六七八九十。")))
    assert preferences.get("novel")(PLAIN)


def test_novel_compares_with_the_training_poems_of_a_run(tmp_path, invented):
    (tmp_path / "poems.json").write_text(json.dumps(invented(200)), "utf-8")
    build_datasets(
        DataOptions(corpus=str(tmp_path / "poems.json")),
        tmp_path,
    )
    novel = preferences.get("novel", training_poems(tmp_path))
    fine_tuning = content(load_stage(tmp_path, "sft")["train"][0]["completion"])
    _, pretraining = split_title(load_stage(tmp_path, "pretrain")["train"][0]["text"])
    assert not novel(Poem("", (fine_tuning,))) and not novel(Poem("", (pretraining,)))
    assert novel(Poem("", ("春夜喜雨山，東西南北中。",)))


def test_an_unknown_preference_lists_the_known_ones():
    with pytest.raises(
        UserError, match="five-character, seven-character, quatrain, rhymed, regulated, novel"
    ):
        preferences.get("rimed")


def test_regulated_verse_can_be_preferred(tmp_path):
    lines = [
        "\n".join(poem.couplets).replace("孤", chr(0x4E00 + i))
        for i in range(30)
        for poem in (REGULATED, PLAIN)
    ]
    (tmp_path / "poems.txt").write_text(
        "\n\n".join(f"登樓\n{poem}" for poem in lines), encoding="utf-8"
    )
    options = DataOptions(corpus=str(tmp_path / "poems.txt"), preference="regulated")
    build_datasets(options, tmp_path / "run")
    for row in load_stage(tmp_path / "run", "dpo")["train"]:
        assert "寒城" in content(row["chosen"]) and "寒山" in content(row["rejected"])
