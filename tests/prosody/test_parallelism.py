"""Parallel couplets (對仗): the score separates real couplets from shuffled ones."""

import random

import pytest

from poet.prosody.judge import judge
from poet.prosody.parallelism import Parallelism, middle_couplets

MOUNTAIN_AND_WATER = """一二三四五，六七八九十。
青山連夜雨，綠水對朝雲。
白石松前月，黃花竹外風。
一二三四五，六七八九十。"""


def test_only_the_middle_of_eight_lines_must_be_parallel():
    assert middle_couplets(MOUNTAIN_AND_WATER) == [
        ("青山連夜雨", "綠水對朝雲"),
        ("白石松前月", "黃花竹外風"),
    ]
    assert middle_couplets("青山連夜雨，綠水對朝雲。\n白石松前月，黃花竹外風。") == []


def test_a_couplet_scores_high_if_its_characters_stood_opposite_each_other():
    parallelism = Parallelism([MOUNTAIN_AND_WATER])
    assert parallelism.score("青山", "綠水") > 0 > parallelism.score("青山", "風月")
    assert parallelism.score("青山", "綠水") == parallelism.score("綠水", "青山")
    assert parallelism.score("鸞鳳", "麒麟") == 0  # unknown characters
    with pytest.raises(ValueError, match="2 and 3 characters"):
        parallelism.score("青山", "綠水長")


def test_the_score_separates_held_out_couplets_from_shuffled_ones(tang_split, tang_poems):
    parallelism = Parallelism(poem.text for poem in tang_split.pretrain)
    real = [
        couplet
        for text in tang_poems
        if judge(text).form.endswith("律詩")
        for couplet in middle_couplets(text)
    ]

    rng = random.Random(0)
    answers = {
        length: [second for first, second in real if len(first) == length] for length in (5, 7)
    }
    shuffled = [(first, rng.choice(answers[len(first)])) for first, _ in real]
    assert (
        area_under_curve(
            [parallelism.score(*couplet) for couplet in real],
            [parallelism.score(*couplet) for couplet in shuffled],
        )
        > 0.9
    )


def area_under_curve(positive: list[float], negative: list[float]) -> float:
    """The share of pairs in which the positive score is above the negative one."""
    ranked = sorted([(score, True) for score in positive] + [(score, False) for score in negative])
    below = above = 0
    for _, is_positive in ranked:
        above += below * is_positive
        below += not is_positive
    return above / (len(positive) * len(negative))
