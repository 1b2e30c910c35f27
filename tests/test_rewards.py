"""What a poem earns, by rules that anybody can check."""

import pytest

from poet import rewards
from poet.errors import UserError

# Made for this test: level and oblique tones as 五言絕句 wants them, rhyming in one group.
END = 7
PLAIN = "山山山山山，山山山山山。\n山山山山山，山山山山山。"


def earned(name: str, poem: str, ends: bool = True) -> float:
    completions = [[{"role": "assistant", "content": poem}]]
    return rewards.get(name, END)(completions=completions, completion_ids=[[5, END] if ends else [5]], prompts=[[]])[0]


def test_form_earns_only_where_the_poem_ends_and_its_lines_are_of_one_length():
    assert earned("well-formed", PLAIN) == 1
    assert earned("well-formed", PLAIN, ends=False) == 0
    assert earned("well-formed", PLAIN + "\n山山山山山山山，山山山山山山山。") == 0


def test_tones_earn_more_the_fewer_rules_are_broken():
    all_level = earned("tones", PLAIN)
    assert 0 <= all_level < 1
    assert earned("tones", "山山山") == 0 == earned("rhymed", "山山山") == earned("regulated", "山山山")


def test_a_reward_that_does_not_exist_is_named_beside_those_that_do():
    with pytest.raises(UserError, match="there is no reward fame; there are well-formed, rhymed"):
        rewards.get("fame", END)
