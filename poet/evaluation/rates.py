"""Measures a list of poems or other texts: forms, rules, repetitions, variety and copies.

It knows texts and the judge of verse. It does not know models.
"""

import itertools
from collections import Counter
from collections.abc import Sequence

from poet.data.kind import Kind
from poet.evaluation.copies import TrainingPoems
from poet.evaluation.intervals import Estimate, distinct, fraction, ratio, share
from poet.evaluation.row import Row, merge
from poet.evaluation.units import Line, lines_of
from poet.prosody.judge import judge
from poet.prosody.parallelism import middle_couplets
from poet.text import line_length


def rates(
    poems: Sequence[str], training: TrainingPoems | None = None, kind: Kind | None = None
) -> Row:
    """Returns the measures of a list of texts; docs/evaluation.md defines each of them.

    Args:
        training: the texts to find copies in. Without them, copies and parallelism are left out.
        kind: what the texts are. Only verse is measured by the rules of verse.
    """
    kind = kind or Kind()
    row = merge(Row(poems=len(poems)), rates_of_repetition(poems, kind))
    if kind.verse:
        row = merge(row, rates_of_form(poems))
    return row if training is None else merge(row, rates_of_training(poems, training, kind))


def rates_of_form(poems: Sequence[str]) -> Row:
    """Returns how many poems keep a form, the rhyme and the rules of tone."""
    lengths = [line_length(poem) for poem in poems]
    judgments = [judge(poem) for poem in poems]
    forms = [form for form, _ in Counter(judgment.form for judgment in judgments).most_common()]
    regular = [judgment for judgment in judgments if judgment.form != "irregular"]
    unknown = [(judgment.unknown, sum(map(len, judgment.lines))) for judgment in judgments]
    return Row(
        well_formed=share(length is not None for length in lengths),
        five_character=share(length == 5 for length in lengths),
        unknown_characters=fraction(unknown) if any(count for count, _ in unknown) else None,
        rhymed=share(judgment.rhymed for judgment in judgments),
        regulated=share(judgment.regulated for judgment in judgments),
        forms={form: share(judgment.form == form for judgment in judgments) for form in forms},
        tone_violations_per_line=ratio(
            [(judgment.tone_violations, len(judgment.lines)) for judgment in regular], lower=0
        ),
    )


def rates_of_repetition(poems: Sequence[str], kind: Kind) -> Row:
    """Returns how often texts repeat lines and characters, and how varied all texts are.

    In languages with spaces, words take the place of characters.
    """
    lines = [lines_of(poem, kind) for poem in poems]
    characters = [[item for line in poem for item in line] for poem in lines]
    pairs = [[pair for line in poem for pair in itertools.pairwise(line)] for poem in lines]
    return Row(
        repeated_lines=_repeated(lines),
        repeated_characters=_repeated(characters),
        distinct_first_lines=distinct([poem[:1] for poem in lines]),
        distinct_1=distinct(characters),
        distinct_2=distinct(pairs),
    )


def rates_of_training(poems: Sequence[str], training: TrainingPoems, kind: Kind) -> Row:
    """Returns how much texts copy, and in verse how parallel the middle couplets are."""
    lines = [lines_of(poem, kind) for poem in poems]
    scores = [
        [training.parallelism.score(*couplet) for couplet in middle_couplets(poem)]
        for poem in (poems if kind.verse else ())
    ]
    return Row(
        parallelism=(
            ratio([(sum(couplets), len(couplets)) for couplets in scores]) if any(scores) else None
        ),
        copied_lines=fraction(
            [(sum(line in training.lines for line in poem), len(poem)) for poem in lines]
        ),
        longest_copy=training.longest_copy(lines),
    )


def _repeated(poems: Sequence[Sequence[str | Line]]) -> Estimate:
    """Returns the share of items that came before in the same poem."""
    return fraction([(len(poem) - len(set(poem)), len(poem)) for poem in poems])
