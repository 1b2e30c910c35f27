"""Rates are the numbers that a reader would count."""

import re

import pytest

from poet.evaluation.copies import TrainingPoems
from poet.evaluation.rates import rates

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"
SEVEN = "一二三四五六七，八九十甲乙丙丁。\n戊己庚辛壬癸子，丑寅卯辰巳午未。"
REGULATED = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"


def test_forms_and_variety_are_counted():
    row = rates([FIVE, FIVE, SEVEN, "一二，三四。"])
    assert (row.well_formed.value, row.five_character.value) == (0.75, 0.5)
    assert row.distinct_first_lines.value == 0.75
    # Only lines of the same poem count, so the second copy of FIVE repeats none.
    assert row.repeated_lines.value == 0
    assert row.distinct_1.value == 28 / (20 + 20 + 28 + 4)
    # All pairs of FIVE are different. SEVEN cuts its lines elsewhere: 8 of its 24 pairs are new.
    new_pairs = {"五六", "十甲", "癸子"} | {"丑寅", "寅卯", "卯辰", "辰巳", "巳午", "午未"}
    assert row.distinct_2.value == (16 + len(new_pairs) - 1 + 2) / (16 + 16 + 24 + 2)


def test_a_line_that_comes_twice_in_a_poem_is_counted():
    couplet = FIVE.split("\n")[0]
    row = rates([FIVE, f"{couplet}\n{couplet}"])
    assert (row.repeated_lines.value, row.repeated_characters.value) == (0.25, 0.25)


def test_rules_are_judged():
    row = rates([REGULATED, FIVE])
    assert (row.rhymed.value, row.regulated.value) == (0.5, 0.5)
    assert {form: share.value for form, share in row.forms.items()} == {
        "五言絕句": 0.5,
        "五言古體": 0.5,
    }


def test_every_rate_has_an_interval_that_holds_it():
    row = rates([FIVE, SEVEN, REGULATED], TrainingPoems([REGULATED])).to_json()
    assert row["interval"]["forms"].keys() == row["forms"].keys()
    for key in row["interval"].keys() - {"forms"}:
        low, high = row["interval"][key]
        assert 0 <= low <= row[key] <= high and low < high, key
        assert high <= 1 or key == "tone_violations_per_line"  # the others are shares
    assert row.keys() - row["interval"].keys() == {"poems", "interval", "longest_copy"}


def test_no_poem_at_all_is_no_error():
    assert rates(["", "abc"]).well_formed.value == 0


def test_characters_of_unknown_tone_are_reported():
    strange = REGULATED.replace(REGULATED[0], "\U00030000", 1)
    characters = len(re.findall(r"\w", REGULATED))
    share = rates([strange, REGULATED]).unknown_characters
    assert share.value == pytest.approx(1 / (2 * characters))
    assert rates([REGULATED]).unknown_characters is None


def test_middle_couplets_are_scored_by_the_opposite_characters_of_training_poems():
    frame = "一二三四五，六七八九十。"
    parallel = f"{frame}\n青山連夜雨，綠水對朝雲。\n白石松前月，黃花竹外風。\n{frame}"
    crossed = f"{frame}\n青山連夜雨，黃花竹外風。\n綠水對朝雲，白石松前月。\n{frame}"
    training = TrainingPoems([parallel] * 9)
    assert rates([parallel], training).parallelism.value > 1
    assert rates([crossed], training).parallelism.value < 0
    assert rates([FIVE], training).parallelism is None


def test_copies_are_found_across_line_ends_but_not_across_poems():
    training = TrainingPoems([FIVE, REGULATED])
    row = rates(["東西南北中，一二三四五。\n六七八白日，依山東西南。", SEVEN], training)
    assert row.copied_lines.value == 1 / 8
    # SEVEN begins with the twenty characters of FIVE, cut into other lines.
    assert row.longest_copy == 20
    halves = TrainingPoems([FIVE[:6], FIVE[6:]])
    assert rates([SEVEN[:8]], halves).longest_copy == 5
    assert rates(["天地玄黃宇，宙洪荒日月。"], training).longest_copy == 0
