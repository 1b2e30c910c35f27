"""Rates are what a reader would count."""

from poet.evaluate import rates, wilson

FIVE = "一二三四五，六七八九十。\n甲乙丙丁戊，己庚辛壬癸。"
SEVEN = "一二三四五六七，八九十甲乙丙丁。\n戊己庚辛壬癸子，丑寅卯辰巳午未。"


def test_forms_and_variety_are_counted():
    row = rates([FIVE, FIVE, SEVEN, "一二，三四。"])
    assert (row["well_formed"], row["five_character"]) == (0.75, 0.5)
    assert row["distinct_first_lines"] == 0.75
    assert row["repeated_lines"] == 0  # within a poem; the second copy of a whole poem is no repeated line


def test_a_line_that_comes_twice_in_a_poem_is_counted():
    twice = FIVE.split("\n")[0]
    assert rates([FIVE, f"{twice}\n{twice}"])["repeated_lines"] == 0.25


def test_the_interval_of_ten_in_ten():
    low, high = wilson(1.0, 10)
    assert round(low, 3) == 0.722 and round(high, 3) == 1.0
