"""Scores poems from 0 to 1 by rules, as rewards for GRPO.

A reward is one number per poem. In GRPO the model samples several poems per title. It learns to
write poems like those with the higher rewards (arXiv:2402.03300).

To add a reward, write a function from the text of one poem to a number:

    def short(poem: str) -> float:
        return float(len(poem) <= 30)

There are two ways to use it. Add it to `REWARDS` below, and name it in the recipe: `rewards:
[well-formed, short]`. Or keep it in a file of the working folder or of the recipe's folder, for
example my_rules.py, and name it as `module:function`: `rewards: [well-formed, "my_rules:short"]`.
The function only sees whole poems, because a poem without an end mark always gets 0.

It knows rules of verse and how trl calls a reward. It does not know models.
"""

from collections import defaultdict
from collections.abc import Callable
from statistics import mean
from typing import Any

from poet.data.rows import content
from poet.errors import UserError
from poet.extension import describe, load_function
from poet.prosody.judge import judge
from poet.text import line_length, poem_lines

Reward = Callable[[str], float]
TrlReward = Callable[..., list[float]]
"""Called by trl with the columns of a batch as keyword arguments. Returns a number per poem."""

# Each rule gives 0 to a poem that is not well formed. Otherwise the shortest text would be best.


def well_formed(poem: str) -> float:
    """Returns 1 for couplets of one length, 5 or 7 characters per line, with their punctuation."""
    return float(line_length(poem) is not None)


def rhymed(poem: str) -> float:
    """Returns 1 if all even lines share a rhyme group."""
    return float(line_length(poem) is not None and judge(poem).rhymed)


def regulated(poem: str) -> float:
    """Returns 1 if the poem keeps every rule of regulated verse."""
    return float(line_length(poem) is not None and judge(poem).regulated)


def tones(poem: str) -> float:
    """Returns 1 minus the number of broken tone rules per line, at least 0.

    With each rule that a poem keeps, this reward rises a little. `regulated` alone gives 0 to
    nearly all poems at first.
    """
    if line_length(poem) is None:
        return 0.0
    judgment = judge(poem)
    return max(0.0, 1 - judgment.tone_violations / len(judgment.lines))


REWARDS: dict[str, Reward] = {
    "well-formed": well_formed,
    "rhymed": rhymed,
    "regulated": regulated,
    "tones": tones,
}
_EASIER_IN_SHORT_FORMS = ("rhymed", "regulated", "tones")


def get_all(
    names: list[str], weights: list[float] | None, end_id: int
) -> tuple[list[TrlReward], list[float]]:
    """Returns the rewards in the format of `trl.GRPOTrainer`, and their weights.

    If "rhymed", "regulated" or "tones" is among them, the reward of `form_baseline` joins them.

    Args:
        names: Keys of `REWARDS`, or functions as `module:function`.
        weights: One per reward. Default: 1.
        end_id: Token id of the end mark.

    Raises:
        UserError: There is no such reward, or the number of weights differs.
    """
    rewards = [get(name, end_id) for name in names]
    if weights is None:
        weights = [1.0] * len(names)
    if len(weights) != len(names):
        raise UserError(
            f"there are {len(names)} rewards and {len(weights)} reward_weights. "
            "Give one weight per reward."
        )
    rules = [
        (reward, weight)
        for name, reward, weight in zip(names, rewards, weights, strict=True)
        if name in _EASIER_IN_SHORT_FORMS
    ]
    if not rules:
        return rewards, weights
    return [*rewards, form_baseline(rules, end_id)], [*weights, 1.0]


def codes(names: list[str]) -> dict[str, str]:
    """Returns a checksum of each function that the user wrote.

    A run with a changed checksum is another run, so it is not resumed.
    """
    return {name: describe(name, "reward")["code"] for name in names if name not in REWARDS}


def get(name: str, end_id: int) -> TrlReward:
    """Returns the reward of that name in the format of `trl.GRPOTrainer`.

    Args:
        name: A key of `REWARDS`, or a function as `module:function`.
        end_id: Token id of the end mark. A poem without it gets 0.

    Raises:
        UserError: There is no such reward, module or function.
    """
    if name in REWARDS:
        rule = REWARDS[name]
    elif ":" in name:
        rule = load_function(name, "reward")
    else:
        raise UserError(
            f"there is no reward {name}. Choose one of {', '.join(REWARDS)}, "
            "or name a function as module:function."
        )

    def reward(
        completions: list[list[dict[str, str]]], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        poems = [content(messages) for messages in completions]
        return [
            float(rule(poem)) if end_id in ids else 0.0
            for poem, ids in zip(poems, completion_ids, strict=True)
        ]

    # trl logs the mean and the spread of a reward under this name.
    reward.__name__ = name.rpartition(":")[2].replace("-", "_")
    return reward


def form_baseline(rules: list[tuple[TrlReward, float]], end_id: int) -> TrlReward:
    """Returns a reward of at most 0: minus the mean of what the poems of the same form earn.

    The mean is over the poems of the same form in the batch. A poem earns the weighted sum of the
    rewards in `rules`. So a poem gains only if it keeps the rules better than other poems of its
    form. Without this reward, the model soon writes the shortest form only, because rules are
    easiest to keep there.

    Args:
        rules: Rewards that are easier to get in short forms, and their weights.
        end_id: Token id of the end mark.
    """
    is_well_formed = get("well-formed", end_id)

    def form_baseline(
        completions: list[list[dict[str, str]]], completion_ids: list[list[int]], **columns: Any
    ) -> list[float]:
        batch = {"completions": completions, "completion_ids": completion_ids, **columns}
        totals = [0.0] * len(completions)
        for rule, weight in rules:
            totals = [
                total + weight * value for total, value in zip(totals, rule(**batch), strict=True)
            ]
        forms = [
            _form(content(messages)) if good else None
            for messages, good in zip(completions, is_well_formed(**batch), strict=True)
        ]
        totals_of_form: dict[tuple[int | None, int] | None, list[float]] = defaultdict(list)
        for form, total in zip(forms, totals, strict=True):
            totals_of_form[form].append(total)
        return [-mean(totals_of_form[form]) for form in forms]

    return form_baseline


def _form(poem: str) -> tuple[int | None, int]:
    """Returns the characters per line and the number of lines."""
    return line_length(poem), len(poem_lines(poem))
