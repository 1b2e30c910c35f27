"""What is preferred is what the judge of verse says, and pairs are of one title, in order, with nothing lost unseen."""

import json
import random

import pytest
from helpers import make_checkpoint, make_model, rhyme_words

from poet.alignment import own_pairs
from poet.alignment.own_pairs import corruption_pairs, sample_pairs
from poet.data import preferences
from poet.data.corpus import Poem, Split
from poet.data.dataset import DataArguments, build_datasets, load_stage, pair_poems, training_poems
from poet.errors import UserError
from poet.generation.write import load
from poet.prosody.forms import regulated_form
from poet.prosody.judge import all_groups, judge
from poet_tokenizer import encode_text

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
        DataArguments(corpus=str(tmp_path / "poems.json"), preference="five-character", **CUT),
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
    arguments = DataArguments(corpus=str(tmp_path / "poems.txt"), preference="regulated", **CUT)
    build_datasets(arguments, tmp_path / "run")
    for row in load_stage(tmp_path / "run", "dpo")["train"]:
        assert "寒城" in row["chosen"][0]["content"] and "寒山" in row["rejected"][0]["content"]


# ---------------------------------------------------------------------------------------- pairs of a model's own


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    return load(make_checkpoint(tmp_path_factory.mktemp("poet"), ends=0.1))


def begins_with_spring(poem: Poem) -> bool:
    return poem.text[:1] in "春夜喜雨"


def test_pairs_are_a_models_own_poems_for_one_title(poet, monkeypatch):
    monkeypatch.setattr(own_pairs, "_TITLES_AT_ONCE", 3)
    titles = [f"春{i}" for i in range(8)]
    pairs = sample_pairs(*poet, titles, begins_with_spring, per_title=6, seed=1)
    assert sample_pairs(*poet, titles, begins_with_spring, per_title=6, seed=1) == pairs
    assert sample_pairs(*poet, titles, begins_with_spring, per_title=6, seed=2) != pairs
    used = [row["prompt"][0]["content"] for row in pairs.rows]
    assert used == sorted(used) and len(set(used)) > 4
    for row in pairs.rows:
        assert row.keys() == {"prompt", "chosen", "rejected"}
        assert [row[side][0]["role"] for side in row] == ["user", "assistant", "assistant"]
        assert begins_with_spring(Poem("", (row["chosen"][0]["content"],)))
        assert not begins_with_spring(Poem("", (row["rejected"][0]["content"],)))
    assert 0 < len(pairs.rows) <= pairs.preferred < pairs.poems <= 48


def scripted(monkeypatch, poet, texts: list[str]) -> None:
    """The model writes these; one that ends in … has no end mark."""
    _, tokenizer = poet
    ids = [encode_text(tokenizer, text.removesuffix("…")) for text in texts]
    ends = [[] if text.endswith("…") else [tokenizer.eos_token_id] for text in texts]
    monkeypatch.setattr(
        own_pairs.write,
        "write_ids",
        lambda *_, **__: [a + b for a, b in zip(ids, ends, strict=True)],
    )


def test_what_gives_no_pair_is_counted(poet, monkeypatch):
    scripted(
        monkeypatch,
        poet,
        [
            "春，",
            "春。",
            "中，",
            "中。",
            "春中",
            "山",
            "夜",
            "白…",
            "春",
            *"中…|山…|白…|春…|中…|山…|白…".split("|"),
        ],
    )
    pairs = sample_pairs(*poet, ["甲", "乙", "丙", "丁"], begins_with_spring, per_title=4, seed=0)
    sides = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in pairs.rows]
    assert sides == [("春，", "中，"), ("春。", "中。"), ("春中", "山")]
    assert (pairs.poems, pairs.preferred) == (8, 5)
    assert pairs.dropped == {
        "poems without an end": 8,
        "titles with nothing but preferred poems": 1,
        "titles without a preferred poem": 1,  # the last has no whole poem at all
    }


def test_equal_sides_are_dropped_and_counted(poet, monkeypatch):
    scripted(monkeypatch, poet, ["春", "春", "中", "山", "山", "山"])
    verdicts = iter([True, False, False, False, False, False])  # a judge that changes its mind
    pairs = sample_pairs(*poet, ["甲", "乙"], lambda poem: next(verdicts), per_title=3, seed=0)
    assert pairs.rows == []
    assert pairs.dropped == {"pairs of one text": 1, "titles without a preferred poem": 1}


def test_the_text_of_a_pair_is_what_the_model_wrote(poet, monkeypatch):
    scripted(monkeypatch, poet, ["春\n\n夜\n", "中\n"])
    (row,) = sample_pairs(*poet, ["甲"], begins_with_spring, per_title=2, seed=0).rows
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("春\n\n夜\n", "中\n")


def test_a_title_without_room_for_a_poem_is_refused(poet):
    with pytest.raises(UserError, match="too long"):
        sample_pairs(*poet, ["春" * 80], begins_with_spring, per_title=2, seed=0)


@pytest.fixture(scope="module")
def rhymer(tmp_path_factory):
    return load(make_model(tmp_path_factory.mktemp("rhymer"), rhyme_words(all_groups(), 12)))


def test_the_form_of_regulated_verse_goes_by_length_and_lines():
    seven = "石徑幽泉細雨聲，松窗夜雨白雲生。"
    assert regulated_form(REGULATED.text) == "五言絕句" == regulated_form(PLAIN.text)
    assert (
        regulated_form("\n".join([seven] * 4)) == "七言律詩"
        and regulated_form("\n".join([seven] * 6)) == "七言排律"
    )
    assert regulated_form("\n".join([seven] * 3)) is None and regulated_form("石徑") is None


def test_a_pair_differs_where_the_rules_are_broken(rhymer):
    seven = Poem("早行", ("石徑幽泉細雨聲，松窗夜雨白雲生。",) * 4)
    shapeless = Poem("望月", ("石徑",))
    rows = corruption_pairs(*rhymer, [REGULATED, seven, shapeless, PLAIN], corruptions=2, seed=1)
    assert [row["prompt"][0]["content"] for row in rows] == ["登樓", "登樓", "早行"]  # form by form
    for row, form in zip(rows, ["五言絕句", "五言絕句", "七言律詩"], strict=True):
        good, bad = (row[side][0]["content"] for side in ("chosen", "rejected"))
        assert judge(good).regulated and judge(good).form == form
        assert not judge(bad).regulated
        assert len(good) == len(bad) and sum(a != b for a, b in zip(good, bad)) == 2
    assert rows[0]["chosen"] != rows[1]["chosen"]
    assert (
        corruption_pairs(*rhymer, [REGULATED, seven, shapeless, PLAIN], corruptions=2, seed=1)
        == rows
    )
