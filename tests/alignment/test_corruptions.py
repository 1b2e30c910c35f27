"""Pairs of poems and their corrupted copies."""

import pytest
from helpers import make_model, rhyme_words

from poet.alignment.corruptions import corruption_pairs
from poet.data.poems import Poem
from poet.generation.load import load
from poet.prosody.characters import all_groups
from poet.prosody.judge import judge

QUATRAIN = Poem("登樓", ("石徑幽泉細，松窗夜雨聲。", "孤燈明舊壁，白髮對寒城。"))
EIGHT_LINES = Poem("早行", ("石徑幽泉細雨聲，松窗夜雨白雲生。",) * 4)
NO_FORM = Poem("望月", ("石徑",))


@pytest.fixture(scope="module")
def poet(tmp_path_factory):
    return load(make_model(tmp_path_factory.mktemp("poet"), rhyme_words(all_groups(), 12)))


def test_a_corrupted_poem_differs_in_a_few_characters_and_breaks_a_rule(poet):
    poems = [QUATRAIN, EIGHT_LINES, NO_FORM, QUATRAIN]
    rows = corruption_pairs(*poet, poems, corruptions=2, seed=1)
    assert [row["prompt"][0]["content"] for row in rows] == ["登樓", "登樓", "早行"]  # form by form
    for row, form in zip(rows, ["五言絕句", "五言絕句", "七言律詩"], strict=True):
        chosen, rejected = (row[side][0]["content"] for side in ("chosen", "rejected"))
        assert judge(chosen).regulated and judge(chosen).form == form
        assert not judge(rejected).regulated
        assert len(chosen) == len(rejected)
        assert sum(a != b for a, b in zip(chosen, rejected, strict=True)) == 2


def test_poems_for_one_title_differ_and_the_seed_decides_them(poet):
    first, again, other = (
        corruption_pairs(*poet, [QUATRAIN, QUATRAIN], corruptions=2, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert first[0]["chosen"] != first[1]["chosen"]
