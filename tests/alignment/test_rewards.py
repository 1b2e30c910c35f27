"""What a poem earns, by rules that anybody can check."""

import pytest

from poet.alignment import rewards
from poet.errors import UserError

END = 7
KEPT = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"  # every rule of 五言絕句
SLIP = KEPT.replace("幽泉細", "幽水細")  # one of them broken, the others as they were
# One character over and over: well formed and nothing else.
PLAIN = "山山山山山，山山山山山。\n山山山山山，山山山山山。"


def earned(name: str, poem: str, ends: bool = True) -> float:
    completions = [[{"role": "assistant", "content": poem}]]
    return rewards.get(name, END)(
        completions=completions, completion_ids=[[5, END] if ends else [5]], prompts=[[]]
    )[0]


def test_form_earns_only_where_the_poem_ends_and_its_lines_are_of_one_length():
    assert earned("well-formed", PLAIN) == 1
    assert earned("well-formed", PLAIN, ends=False) == 0
    assert earned("well-formed", PLAIN + "\n山山山山山山山，山山山山山山山。") == 0


def test_tones_earn_more_the_fewer_rules_are_broken():
    assert 1 == earned("tones", KEPT) > earned("tones", SLIP) > earned("tones", PLAIN) >= 0
    assert earned("rhymed", KEPT) == earned("rhymed", SLIP) == 1 and earned("rhymed", PLAIN) < 1
    assert (
        earned("regulated", KEPT) == 1
        and earned("regulated", SLIP) == earned("regulated", PLAIN) == 0
    )
    assert (
        earned("tones", "山山山")
        == 0
        == earned("rhymed", "山山山")
        == earned("regulated", "山山山")
    )


def test_a_reward_that_does_not_exist_is_named_beside_those_that_do():
    with pytest.raises(UserError, match="there is no reward fame; there are well-formed, rhymed"):
        rewards.get("fame", END)


def test_a_poem_gains_by_its_rules_only_what_is_above_its_form():
    longer = "\n".join([PLAIN, PLAIN])
    poems = [PLAIN, KEPT, longer, "山山山"]
    batch = {
        "completions": [[{"role": "assistant", "content": poem}] for poem in poems],
        "completion_ids": [[5, END]] * len(poems),
        "prompts": [[]] * len(poems),
    }
    judges, weights = rewards.get_all(
        ["well-formed", "tones", "regulated"], [1.0, 2.0, 1.0], END, level=True
    )
    columns = [judge(**batch) for judge in judges]
    totals = [
        sum(weight * column[i] for weight, column in zip(weights, columns, strict=True))
        for i in range(len(poems))
    ]
    plain, good, alone, broken = totals
    assert good > 1 > plain and (good + plain) / 2 == pytest.approx(
        1
    )  # 1: what being well formed earns
    assert alone == pytest.approx(1) and broken == 0
