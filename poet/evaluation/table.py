"""Writes rows of measures as a Markdown table.

It knows rows. It does not know where they come from.
"""

from collections.abc import Mapping
from dataclasses import fields

from poet.evaluation.figures import FORM_NAMES
from poet.evaluation.intervals import Estimate
from poet.evaluation.row import Row


def table(rows: Mapping[str, Row]) -> str:
    """Returns a table with one column per row of measures and one line per measure.

    The column "better" says which direction is better. Each value is followed by its 95 %
    interval. Measures that apply to no column are left out.
    """
    lines = [f"| | better | {' | '.join(rows)} |", "|---" * (len(rows) + 2) + "|"]
    for field in fields(Row):
        label, better = field.metadata["label"], field.metadata["better"]
        values = [getattr(row, field.name) for row in rows.values()]
        if field.name == "forms":
            for form, name in FORM_NAMES.items():
                shares = [(value or {}).get(form) for value in values]
                lines += _lines(f"{label}: {name}", better, shares)
        else:
            lines += _lines(label, better, values)
    return "\n".join(lines)


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
