"""Rewards: the number that each rule gives to poems."""

import sys

import pytest

from poet.alignment import rewards
from poet.errors import UserError

END = 7
REGULATED = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"
ONE_BROKEN_TONE = REGULATED.replace("幽泉細", "幽水細")
# One character over and over: well formed, and nothing else.
REPEATED = "山山山山山，山山山山山。\n山山山山山，山山山山山。"
NOT_WELL_FORMED = "山山山"


def batch(*poems: str, ends: bool = True) -> dict:
    """Returns the arguments with which trl calls a reward."""
    return {
        "completions": [[{"role": "assistant", "content": poem}] for poem in poems],
        "completion_ids": [[5, END] if ends else [5] for _ in poems],
        "prompts": [[] for _ in poems],
    }


def reward(name: str, poem: str, ends: bool = True) -> float:
    return rewards.get(name, END)(**batch(poem, ends=ends))[0]


@pytest.mark.parametrize("name", rewards.REWARDS)
def test_a_poem_without_an_end_mark_gets_nothing(name):
    assert reward(name, REGULATED) == 1
    assert reward(name, REGULATED, ends=False) == 0


@pytest.mark.parametrize("name", rewards.REWARDS)
def test_a_poem_that_is_not_well_formed_gets_nothing(name):
    seven = "山山山山山山山，山山山山山山山。"
    assert reward(name, NOT_WELL_FORMED) == 0
    assert reward(name, f"{REPEATED}\n{seven}") == 0


def test_a_well_formed_poem_may_break_every_other_rule():
    assert reward("well-formed", REPEATED) == 1
    assert reward("regulated", REPEATED) == reward("rhymed", REPEATED) == 0


def test_tones_rise_with_each_rule_that_is_kept():
    assert reward("tones", REGULATED) > reward("tones", ONE_BROKEN_TONE) > reward("tones", REPEATED)
    assert reward("rhymed", ONE_BROKEN_TONE) == 1 and reward("regulated", ONE_BROKEN_TONE) == 0


def test_an_unknown_reward_or_a_missing_weight_is_refused():
    with pytest.raises(UserError, match="there is no reward fame. Choose one of well-formed"):
        rewards.get("fame", END)
    with pytest.raises(UserError, match="2 rewards and 1 reward_weights"):
        rewards.get_all(["tones", "rhymed"], [1.0], END)


def test_a_reward_may_be_a_function_in_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "own_rules.py").write_text("def moon(poem):\n    return '月' in poem\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (moon, _), weights = rewards.get_all(["own_rules:moon", "well-formed"], None, END)
    assert moon(**batch("明月", "明日")) == [1.0, 0.0] and weights == [1.0, 1.0]
    assert moon(**batch("明月", ends=False)) == [0.0]
    assert moon.__name__ == "moon"  # the name of its curve
    for name in ("own_rules:sun", "no_such_file:moon"):
        with pytest.raises(UserError, match=f"cannot load the reward {name}"):
            rewards.get(name, END)


def test_for_rhyme_and_tones_a_poem_is_compared_with_poems_of_its_form():
    longer = f"{REPEATED}\n{REPEATED}"
    poems = batch(REPEATED, REGULATED, longer, NOT_WELL_FORMED)
    functions, weights = rewards.get_all(
        ["well-formed", "tones", "regulated"], [1.0, 2.0, 1.0], END
    )
    columns = [
        [weight * value for value in function(**poems)]
        for function, weight in zip(functions, weights, strict=True)
    ]
    repeated, regulated, alone, broken = map(sum, zip(*columns, strict=True))
    assert regulated > 1 > repeated  # 1 is the reward for being well formed
    assert (regulated + repeated) / 2 == pytest.approx(1)
    assert alone == pytest.approx(1) and broken == 0
