"""Writes rows of measures as a Markdown table.

It knows rows. It does not know where they come from.
"""

from collections.abc import Mapping
from dataclasses import fields

from poet.data.kind import Kind
from poet.data.shapes import POEMS
from poet.evaluation.intervals import Estimate
from poet.evaluation.row import Row

_LABELS_IN_WORDS = {
    "repeated_characters": "repeated words",
    "distinct_1": "distinct words",
    "distinct_2": "distinct pairs of words",
}
POETS, HELD_OUT = "the poets", "held out"
FORM_NAMES = {
    meter + form: f"{number}-character {name}"
    for meter, number in (("五言", 5), ("七言", 7))
    for form, name in (
        ("絕句", "jueju"),
        ("律詩", "lüshi"),
        ("排律", "pailü"),
        ("古體", "old style"),
    )
} | {"irregular": "irregular"}


def table(rows: Mapping[str, Row], kind: Kind | None = None) -> str:
    """Returns a table with one column per row of measures and one line per measure.

    The column "better" says which direction is better. Each value is followed by its 95 %
    interval. Measures that apply to no column are left out.

    Args:
        kind: what the texts are. It decides whether the table speaks of poems and titles.
    """
    kind = kind or Kind()
    names = {name: poets_name(kind, name) for name in ("poets", POETS)}
    lines = [f"| | better | {' | '.join(names.get(row, row) for row in rows)} |"]
    lines.append("|---" * (len(rows) + 2) + "|")
    for field in fields(Row):
        label = _label(field.name, field.metadata["label"], kind)
        better = field.metadata["better"].replace(POETS, poets_name(kind))
        values = [getattr(row, field.name) for row in rows.values()]
        if field.name == "forms":
            for form, name in FORM_NAMES.items():
                shares = [(value or {}).get(form) for value in values]
                lines += _lines(f"{label}: {name}", better, shares)
        else:
            lines += _lines(label, better, values)
    return "\n".join(lines)


def poets_name(kind: Kind, name: str = POETS) -> str:
    """Returns the name of the column of held-out texts: `name` for poems, else "held out"."""
    return name if kind.shape == POEMS else HELD_OUT


def _label(key: str, label: str, kind: Kind) -> str:
    if kind.has_spaces:
        label = _LABELS_IN_WORDS.get(key, label)
    if kind.shape != POEMS:
        label = label.replace("poems", kind.texts).replace("the title", "the prompt")
    return label


def _lines(label: str, better: str, values: list[Estimate | int | None]) -> list[str]:
    """Returns the line of a measure, or none if the measure applies to no column."""
    if all(value is None for value in values):
        return []
    return [f"| {label} | {better} | {' | '.join(map(_cell, values))} |"]


def _cell(value: Estimate | int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    low, high = value.interval
    return f"{value.value:.3f} ({low:.3f} to {high:.3f})"
