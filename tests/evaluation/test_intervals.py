"""Intervals agree with published values and with simple cases."""

import random
import statistics

import pytest

from poet.evaluation.intervals import area_under_curve, distinct, fraction, ratio, share, wilson


def test_the_interval_of_ten_in_ten():
    low, high = wilson(1.0, 10)
    assert round(low, 3) == 0.722 and round(high, 3) == 1.0


def test_the_jackknife_of_a_mean_is_the_usual_standard_error():
    rng = random.Random(0)
    values = [rng.gauss(3, 1) for _ in range(50)]
    mean, (low, high) = ratio([(value, 1) for value in values])
    error = 1.96 * statistics.stdev(values) / 50**0.5
    assert mean == pytest.approx(statistics.mean(values))
    assert (low, high) == (pytest.approx(mean - error), pytest.approx(mean + error))


def test_a_longer_poem_counts_more():
    assert ratio([(1, 1), (0, 3)]).value == 0.25


def test_poems_that_are_all_alike_still_have_an_interval():
    assert fraction([(0, 8)] * 10) == share([False] * 10)


def test_the_interval_of_a_fraction_stays_between_0_and_1():
    assert ratio([(8, 8), (0, 8)]).interval[1] > 1
    assert fraction([(8, 8), (0, 8)]).interval == (0, 1)


def test_an_item_in_two_poems_is_one_different_item():
    assert distinct(["ab", "bc"]).value == 3 / 4


def test_the_area_under_the_curve_is_the_share_of_pairs_in_order():
    assert area_under_curve([3, 2, 1], [2, 0]).value == 4.5 / 6
    area, (low, high) = area_under_curve([1] * 20, [0] * 30)
    assert area == high == 1 and 0.8 < low < 1
    assert area_under_curve([1], [0]).interval == pytest.approx(wilson(1.0, 1))
    low, high = area_under_curve(list(range(50)), list(range(50))).interval
    assert low + high == pytest.approx(1) and 0.3 < low < 0.5
