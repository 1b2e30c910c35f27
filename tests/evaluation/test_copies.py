"""A held-out poem leaked if it, or half of it, was trained on."""

import pytest

from poet.data.poems import read_corpus, split_poems
from poet.data.rows import hold_out
from poet.evaluation.copies import TrainingPoems

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"
SEVEN = "一二三四五六七，八九十甲乙丙丁。\n戊己庚辛壬癸子，丑寅卯辰巳午未。"
REGULATED = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"
HYMN = "天地玄黃，宇宙洪荒。\n日月盈昃，辰宿列張。"
FIRST_COUPLET = REGULATED.split("\n")[0]


@pytest.mark.parametrize(
    ("poem", "copy", "half"),
    [
        (REGULATED, True, True),
        (REGULATED.replace("，", "；").replace("\n", ""), True, False),
        (f"{FIRST_COUPLET}\n東西南北中，天地玄黃宇。", False, True),
        (f"{FIRST_COUPLET}\n東西南北中，天地玄黃宇。\n宙洪荒日月，盈昃辰宿列。", False, False),
        (f"{HYMN}\n寒來暑往，秋收冬藏。", False, False),
        (SEVEN, False, False),
    ],
    ids=["same", "other marks", "half", "a third", "formulas", "other"],
)
def test_a_copy_or_half_of_the_couplets_leaks(poem, copy, half):
    training = TrainingPoems([FIVE, REGULATED, HYMN])
    assert (training.has_copy(poem), training.has_half(poem)) == (copy, half)
    assert training.has_seen(poem) == (copy or half)


def test_the_split_of_the_original_tutorial_leaks(tang):
    """Of its 4,747 held-out poems, 140 were trained on and 388 share half of their couplets."""
    poems = read_corpus(tang, None, min_couplets=2, equal_couplets=True, forbidden="□(（").poems
    halves = [
        hold_out(part, 0.1)
        for part in split_poems(poems, 2024, [5, 3, 2], copies_together=False).parts
    ]
    training = TrainingPoems([poem.text for learned, _ in halves for poem in learned])
    held_out = [poem.text for _, kept in halves for poem in kept]
    assert len(held_out) == 4747
    assert sum(map(training.has_copy, held_out)) == 140
    assert sum(map(training.has_half, held_out)) == 388
