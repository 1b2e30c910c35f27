"""Which poems each preference prefers, and how it pairs the poems of a corpus."""

import json
import random

import pytest

from poet.data import preferences
from poet.data.poems import Poem, Split
from poet.data.run_data import DataOptions, build_datasets, load_stage, pair_poems, training_poems
from poet.errors import UserError

REGULATED = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒城。"))
RHYMED = Poem(
    "登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，寒山白雪明。")
)  # line 4 opposes nothing
PLAIN = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒山。"))
CUT = {
    "seed": 1,
    "split": [5, 3, 2],
    "held_out": 0.1,
    "min_couplets": 2,
    "equal_couplets": True,
    "forbidden": "",
}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("rhymed", [REGULATED, RHYMED]),
        ("regulated", [REGULATED]),
        ("five-character", [REGULATED, RHYMED, PLAIN]),
    ],
)
def test_rules_of_verse_are_preferences(name, kept):
    assert [poem for poem in (REGULATED, RHYMED, PLAIN) if preferences.get(name)(poem)] == kept


def test_a_poem_is_novel_that_repeats_no_line_of_the_training_poems():
    novel = preferences.get("novel", [PLAIN])
    one_line = Poem("", ("春夜喜雨山，白髮對寒山！", "東西南北中，一二三四五。"))
    assert not novel(PLAIN) and not novel(one_line)
    assert novel(Poem("", ("春夜喜雨山，東西南北中。", "一二三四五，六七八九十。")))
    assert preferences.get("novel")(PLAIN)


def test_what_a_novel_poem_is_compared_with_are_the_poems_of_a_run(tmp_path, invented):
    (tmp_path / "poems.json").write_text(json.dumps(invented(200)), "utf-8")
    build_datasets(
        DataOptions(corpus=str(tmp_path / "poems.json"), preference="five-character", **CUT),
        tmp_path,
    )
    novel = preferences.get("novel", training_poems(tmp_path))
    learned = load_stage(tmp_path, "sft")["train"][0]["completion"][0]["content"]
    continued = load_stage(tmp_path, "pretrain")["train"][0]["text"].partition("\n")[2]
    assert not novel(Poem("", (learned,))) and not novel(Poem("", (continued,)))
    assert novel(Poem("", ("春夜喜雨山，東西南北中。",)))


def test_a_name_that_is_none_is_answered_with_those_there_are():
    with pytest.raises(
        UserError, match="five-character, seven-character, quatrain, rhymed, regulated, novel"
    ):
        preferences.get("rimed")


@pytest.mark.parametrize("name", ["rhymed", "regulated", "novel"])
def test_pairs_of_the_corpus_are_chosen_by_it(name):
    known = [Poem("", ("東西南北中，白髮對寒山。", "一二三四五，孤燈明舊壁。"))]
    fresh = Poem("", ("春夜喜雨山，南北東西中。", "雨夜山中白，中白夜山春。"))
    split = Split(known, [], [PLAIN, REGULATED, fresh, REGULATED, fresh], random.Random(0))
    prefers = preferences.get(name, split.pretrain)
    pairs = pair_poems(split, prefers)
    assert len(pairs) == 2
    assert all(prefers(chosen) and not prefers(rejected) for chosen, rejected in pairs)


def test_a_recipe_may_prefer_regulated_verse(tmp_path):
    lines = [
        "\n".join(poem.couplets).replace("孤", chr(0x4E00 + i))
        for i in range(30)
        for poem in (REGULATED, PLAIN)
    ]
    (tmp_path / "poems.txt").write_text(
        "\n\n".join(f"登樓\n{poem}" for poem in lines), encoding="utf-8"
    )
    arguments = DataOptions(corpus=str(tmp_path / "poems.txt"), preference="regulated", **CUT)
    build_datasets(arguments, tmp_path / "run")
    for row in load_stage(tmp_path / "run", "dpo")["train"]:
        assert "寒城" in row["chosen"][0]["content"] and "寒山" in row["rejected"][0]["content"]
