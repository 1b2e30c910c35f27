"""Defines a row: the measures of one checkpoint or of a list of poems.

It knows the names of the measures. It does not know how they are computed.
docs/evaluation.md defines each of them.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from poet.evaluation.intervals import Estimate

Value = Estimate | dict[str, Estimate] | int


def _measure(label: str, better: str = "") -> Any:
    """Returns a field that is empty by default.

    Args:
        label: the name of the measure in tables.
        better: "lower", "higher", "as the poets", or "" when no direction is better.
    """
    return field(default=None, metadata={"label": label, "better": better})


@dataclass
class Row:
    """The measures of one checkpoint or one list of poems; a measure that does not apply is None.

    A field's name is its JSON key. The order of the fields is the order of the table.
    """

    loss: Estimate | None = _measure("loss of text", "lower")
    perplexity: Estimate | None = _measure("perplexity of text", "lower")
    loss_unseen: Estimate | None = _measure("loss of unseen text", "lower")
    poem_loss: Estimate | None = _measure("loss of poems", "lower")
    poem_loss_unseen: Estimate | None = _measure("loss of unseen poems", "lower")
    poem_loss_five_character: Estimate | None = _measure("loss of five-character poems", "lower")
    title_gain: Estimate | None = _measure("gain by the title", "higher")
    theme_words: Estimate | None = _measure("theme words used", "higher")
    theme_words_or_kin: Estimate | None = _measure("theme words or related words used", "higher")
    theme_words_by_chance: Estimate | None = _measure("theme words used by chance")
    theme_words_or_kin_by_chance: Estimate | None = _measure(
        "theme words or related words used by chance"
    )
    leaked_poems: int | None = _measure("leaked poems")
    poems: int | None = _measure("poems")
    ends_by_itself: Estimate | None = _measure("ends by itself", "higher")
    well_formed: Estimate | None = _measure("well formed", "higher")
    five_character: Estimate | None = _measure("five-character", "as the poets")
    unknown_characters: Estimate | None = _measure("characters of unknown tone")
    rhymed: Estimate | None = _measure("rhymed", "higher")
    regulated: Estimate | None = _measure("regulated", "higher")
    tone_violations_per_line: Estimate | None = _measure("broken tone rules per line", "lower")
    repeated_lines: Estimate | None = _measure("repeated lines", "lower")
    repeated_characters: Estimate | None = _measure("repeated characters", "as the poets")
    distinct_first_lines: Estimate | None = _measure("distinct first lines", "higher")
    distinct_1: Estimate | None = _measure("distinct characters", "as the poets")
    distinct_2: Estimate | None = _measure("distinct pairs of characters", "as the poets")
    parallelism: Estimate | None = _measure("parallelism", "higher")
    copied_lines: Estimate | None = _measure("copied lines", "lower")
    longest_copy: int | None = _measure("longest copy, characters", "lower")
    voice_auc: Estimate | None = _measure("author recognized (AUC)", "higher")
    author_loss: Estimate | None = _measure("loss of the author's poems", "lower")
    author_loss_before: Estimate | None = _measure("loss of the author's poems, without adapter")
    others_loss: Estimate | None = _measure("loss of others' poems")
    others_loss_before: Estimate | None = _measure("loss of others' poems, without adapter")
    taken_for_author: Estimate | None = _measure("poems taken for the author's", "higher")
    taken_for_author_before: Estimate | None = _measure(
        "poems taken for the author's, without adapter"
    )
    own_poems_taken_for_author: Estimate | None = _measure("author's poems taken for the author's")
    others_poems_taken_for_author: Estimate | None = _measure(
        "others' poems taken for the author's"
    )
    forms: dict[str, Estimate] | None = _measure("form", "as the poets")

    def measures(self) -> dict[str, Value]:
        """Returns the measures that apply: {JSON key: value}."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in values.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Returns the plain values by key; "interval" has the 95 % intervals by the same keys."""
        values: dict[str, Any] = {}
        intervals: dict[str, Any] = {}
        for key, value in self.measures().items():
            if isinstance(value, Estimate):
                values[key], intervals[key] = value
            elif isinstance(value, dict):
                values[key] = {name: estimate.value for name, estimate in value.items()}
                intervals[key] = {name: estimate.interval for name, estimate in value.items()}
            else:
                values[key] = value
        return {**values, "interval": intervals}


def merge(*rows: Row) -> Row:
    """Returns one row with the measures of all rows; for a measure in several rows, the last."""
    measures: dict[str, Any] = {}
    for row in rows:
        measures.update(row.measures())
    return Row(**measures)
