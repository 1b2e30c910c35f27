"""Writes rows of measures as a Markdown table.

It knows rows. It does not know where they come from.
"""

from collections.abc import Mapping
from dataclasses import fields

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
            shares = [value or {} for value in values]
            for form in dict.fromkeys(form for share in shares for form in share):
                lines.append(_line(f"{label} {form}", better, [s.get(form) for s in shares]))
        elif any(value is not None for value in values):
            lines.append(_line(label, better, values))
    return "\n".join(lines)


def _line(label: str, better: str, values: list[Estimate | int | None]) -> str:
    return f"| {label} | {better} | {' | '.join(map(_cell, values))} |"


def _cell(value: Estimate | int | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    low, high = value.interval
    return f"{value.value:.3f} ({low:.3f} to {high:.3f})"
