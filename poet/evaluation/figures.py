"""Draws the figures of a report: the losses of all stages, and the rates of poems.

It knows the names of values in `poet evaluate`. Labels are in English, so no font with Chinese
characters is needed.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from poet.evaluation.table import FORM_NAMES, HELD_OUT, POETS
from poet.training.plots import BLUE, GREY, ORANGE, draw_panel, layout, save_figure, tidy
from poet.training.stages import STAGES

_WRITERS = (BLUE, ORANGE, "#2f855a", "#805ad5", "#b83280")
_RATES = {
    "well_formed": "well formed",
    "five_character": "five-character",
    "rhymed": "rhymed",
    "regulated": "regulated",
    "copied_lines": "copied lines",
}
_GENERAL_RATES = {
    "ends_by_itself": "ends by itself",
    "repeated_lines": "repeated lines",
    "distinct_first_lines": "distinct first lines",
    "distinct_1": "distinct words or characters",
    "copied_lines": "copied lines",
}


def draw_stages(histories: dict[str, list[dict]], path: Path) -> None:
    """Draws the losses of several stages side by side, {stage: log history} -> PNG.

    Each stage has its own kind of loss, or a reward.
    """
    figure = Figure(figsize=(4.2 * len(histories), 3.4), layout=layout())
    for axes, (stage, history) in zip(
        figure.subplots(1, len(histories), squeeze=False).flat, histories.items(), strict=True
    ):
        draw_panel(axes, history, *STAGES[stage].curve)
        axes.set_title(STAGES[stage].name, fontsize=11)
    save_figure(figure, path)


def draw_rates(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draws rates and forms of poems, {writer: row of `poet evaluate`} -> PNG, with 95 % intervals.

    Rows without poems, such as those of a pretrained model, are left out. The poets are grey.
    Texts that are not Chinese verse have rates but no forms.
    """
    rows = {name: row for name, row in rows.items() if row.keys() & {"poems", "forms"}}
    intervals = {name: row.get("interval", {}) for name, row in rows.items()}
    has_forms = not rows or any("forms" in row for row in rows.values())
    figure = Figure(figsize=(10 if has_forms else 6, 2.2 + len(rows)), layout=layout())
    left, *others = figure.subplots(1, 2 if has_forms else 1, squeeze=False).flat
    writers = {name: (row, intervals[name]) for name, row in rows.items()}
    _draw_shares(left, _RATES if has_forms else _GENERAL_RATES, writers)
    left.set_title("rates", fontsize=11)
    for right in others:
        forms = {
            name: (row.get("forms", {}), intervals[name].get("forms", {}))
            for name, row in rows.items()
        }
        _draw_shares(right, FORM_NAMES, forms)
        right.set_title("forms", fontsize=11)
    legend = figure.legend(
        left.containers,
        ["writer"] * len(rows),  # matplotlib would leave out a name that begins with "_"
        loc="outside upper center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    for text, writer in zip(legend.get_texts(), left.containers, strict=True):
        text.set_parse_math(False)  # a name may have dollar signs
        text.set_text(writer.get_label())
    save_figure(figure, path)


@cache
def _code_points() -> frozenset[int]:
    """Returns the code points of the font of all figures, which has no Chinese characters."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _draw_shares(
    axes: Axes,
    labels: dict[str, str],
    writers: dict[str, tuple[dict[str, float], dict[str, Sequence[float]]]],
) -> None:
    """Draws a group of bars per label, with one bar per writer and the interval as a whisker.

    Args:
        writers: {writer: (shares, intervals)}.
    """
    colours = iter(_WRITERS * len(writers))
    height = 0.75 / max(1, len(writers))
    for number, (name, (shares, intervals)) in enumerate(writers.items()):
        colour = GREY if name in ("poets", POETS, HELD_OUT) else next(colours)
        known = {
            group + (number + 0.5) * height - 0.375: key
            for group, key in enumerate(labels)
            if key in shares
        }
        in_font = all(ord(character) in _code_points() for character in name)
        label = name if in_font else f"writer {number + 1}"
        axes.barh(
            list(known),
            [shares[key] for key in known.values()],
            0.9 * height,
            color=colour,
            label=label,
        )
        for at, key in known.items():
            if key in intervals:
                axes.plot(intervals[key], (at, at), color="black", alpha=0.6, linewidth=1)
    axes.set_yticks(range(len(labels)), list(labels.values()))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.set_xlabel("share", fontsize=9, color=GREY)
    tidy(axes)
