"""對仗: the two lines of a real couplet answer each other, and a score that is any good tells them from two that were never one."""

import random

import pytest

from poet.data.poems import read_corpus, split_poems
from poet.prosody.judge import judge
from poet.prosody.parallelism import Parallelism, middle_couplets

MOUNTAIN_AND_WATER = "一二三四五，六七八九十。\n青山連夜雨，綠水對朝雲。\n白石松前月，黃花竹外風。\n一二三四五，六七八九十。"


def test_only_the_middle_of_eight_lines_must_be_parallel():
    assert middle_couplets(MOUNTAIN_AND_WATER) == [
        ("青山連夜雨", "綠水對朝雲"),
        ("白石松前月", "黃花竹外風"),
    ]
    assert middle_couplets("青山連夜雨，綠水對朝雲。\n白石松前月，黃花竹外風。") == []


def test_a_couplet_answers_where_its_characters_stood_opposite_each_other():
    parallelism = Parallelism([MOUNTAIN_AND_WATER])
    assert parallelism.score("青山", "綠水") > 0 > parallelism.score("青山", "風月")
    assert parallelism.score("青山", "綠水") == parallelism.score("綠水", "青山")
    assert parallelism.score("鸞鳳", "麒麟") == 0  # nothing known of these
    with pytest.raises(ValueError, match="2 and 3 characters"):
        parallelism.score("青山", "綠水長")


def test_real_middle_couplets_are_told_from_shuffled_ones_of_poems_never_seen(tang):
    corpus = read_corpus(tang, min_couplets=2, equal_couplets=True, forbidden="□(（")
    split = split_poems(corpus.poems, seed=2024, ratio=(5, 3, 2), copies_together=False)
    parallelism = Parallelism(poem.text for poem in split.pretrain)
    held_out = [poem.text for poem in split.sft[int(0.9 * len(split.sft)) :]]
    real = [
        couplet
        for text in held_out
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
    """How often one of the positive scores is above one of the negative ones."""
    ranked = sorted([(score, True) for score in positive] + [(score, False) for score in negative])
    below = above = 0
    for _, is_positive in ranked:
        above += below * is_positive
        below += not is_positive
    return above / (len(positive) * len(negative))
