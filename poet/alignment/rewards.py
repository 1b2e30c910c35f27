"""Rules of verse as rewards for reinforcement: what a poem earns, from 0 to 1, by each of them apart.

Knows the judge of verse and how trl asks for rewards; knows no model. A poem that does not end by itself earns nothing,
and one that is not well formed earns nothing for its rhyme or its tones: else the shortest text would be the best.
"""

from collections import defaultdict
from collections.abc import Callable
from statistics import mean

from poet.errors import UserError
from poet.prosody.judge import judge
from poet.text import line_length, poem_lines

Reward = Callable[[str], float]


def well_formed(poem: str) -> float:
    """1 for lines of one length, each two verses with their punctuation."""
    return float(line_length(poem) is not None)


def rhymed(poem: str) -> float:
    """1 where all even verses share a rhyme group."""
    return float(line_length(poem) is not None and judge(poem).rhymed)


def regulated(poem: str) -> float:
    """1 where every rule of regulated verse is kept."""
    return float(line_length(poem) is not None and judge(poem).regulated)


def tones(poem: str) -> float:
    """The share of verses without a broken rule of tone: a way up to `regulated`, which nearly no first poem is."""
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


def get_all(
    names: list[str], weights: list[float] | None, end: int, level: bool = False
) -> tuple[list[Callable[..., list[float]]], list[float]]:
    """The rewards called so, as `trl.GRPOTrainer` calls them, and their weights; `level` adds that of `form_baseline`.

    Raises:
        UserError: there is no such reward, or the weights are not as many.
    """
    found = [get(name, end) for name in names]
    weights = [1.0] * len(names) if weights is None else weights
    if len(weights) != len(names):
        raise UserError(
            f"there are {len(names)} rewards and {len(weights)} reward_weights: each reward has one"
        )
    return (
        ([*found, form_baseline(found, weights, end)], [*weights, 1.0])
        if level
        else (found, weights)
    )


def form_baseline(
    judges: list[Callable[..., list[float]]], weights: list[float], end: int
) -> Callable[..., list[float]]:
    """One more reward, below zero: what the batch's poems of the same form earn on average, by all `judges` but well-formed.

    So a poem gains by its rules only what is above its form's; else the shortest form, the easiest to keep, is soon all that
    is written.
    """
    whole = get("well-formed", end)
    rules = [
        (judge, weight)
        for judge, weight in zip(judges, weights, strict=True)
        if judge.__name__ != whole.__name__
    ]

    def form_level(completions: list[list[dict[str, str]]], **kwargs) -> list[float]:
        columns = [
            [weight * earned for earned in judge(completions, **kwargs)] for judge, weight in rules
        ]
        earned = [sum(column[i] for column in columns) for i in range(len(completions))]
        poems = [messages[0]["content"] for messages in completions]
        forms = [
            (line_length(poem), len(poem_lines(poem))) if good else None
            for poem, good in zip(poems, whole(completions, **kwargs), strict=True)
        ]
        by_form: dict[object, list[float]] = defaultdict(list)
        for form, value in zip(forms, earned, strict=True):
            by_form[form].append(value)
        return [-mean(by_form[form]) for form in forms]

    return form_level


def get(name: str, end: int) -> Callable[..., list[float]]:
    """The reward called `name`, as `trl.GRPOTrainer` calls it.

    Args:
        end: id of the end mark.

    Raises:
        UserError: there is no such reward; the message lists those that exist.
    """
    if name not in REWARDS:
        raise UserError(f"there is no reward {name}; there are {', '.join(REWARDS)}")

    def earned(
        completions: list[list[dict[str, str]]], completion_ids: list[list[int]], **kwargs
    ) -> list[float]:
        whole = [end in ids for ids in completion_ids]
        poems = [messages[0]["content"] for messages in completions]
        return [
            REWARDS[name](poem) if ends else 0.0 for poem, ends in zip(poems, whole, strict=True)
        ]

    earned.__name__ = name.replace("-", "_")  # under which trl logs its mean and spread
    return earned
