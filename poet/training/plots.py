"""Draws the curves of a training and the rates of an evaluation into PNG files.

It knows the names of values in the logs of Trainer, TRL and `poet evaluate`. Labels are in English,
so no font with Chinese characters is needed. pyplot is not used: it keeps state and needs a display.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from poet.training.stages import STAGES

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#dd6b20", "#718096"
_WRITERS = (_BLUE, _ORANGE, "#2f855a", "#805ad5", "#b83280")
_RATES = {
    "well_formed": "well formed",
    "five_character": "five-character",
    "rhymed": "rhymed",
    "regulated": "regulated",
    "copied_lines": "copied lines",
}
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


def draw_curves(log_history: list[dict], path: Path) -> None:
    """Draws the losses and the learning rate of one stage against steps.

    DPO also has panels for the reward margin and the reward accuracy.

    Args:
        log_history: `trainer.state.log_history`.
    """
    panels = [("loss", "loss"), ("learning_rate", "learning rate")]
    if any("rewards/margins" in log or "eval_rewards/margins" in log for log in log_history):
        panels += [
            ("rewards/margins", "reward margin"),
            ("rewards/accuracies", "chosen above rejected"),
        ]
    figure = Figure(figsize=(10, 3.2 * len(panels) / 2), layout=_layout())
    for axes, (key, label) in zip(figure.subplots(len(panels) // 2, 2).flat, panels, strict=True):
        _draw(axes, log_history, key, label)
    figure.savefig(path, dpi=130)


def draw_stages(histories: dict[str, list[dict]], path: Path) -> None:
    """Draws the losses of several stages side by side, {stage: log history} -> PNG.

    Each stage has its own kind of loss, or a reward.
    """
    figure = Figure(figsize=(4.2 * len(histories), 3.4), layout=_layout())
    for axes, (stage, history) in zip(
        figure.subplots(1, len(histories), squeeze=False).flat, histories.items(), strict=True
    ):
        _draw(axes, history, *STAGES[stage].curve)
        axes.set_title(STAGES[stage].name, fontsize=11)
    figure.savefig(path, dpi=130)


def draw_verse(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Draws rates and forms of poems, {writer: row of `poet evaluate`} -> PNG, with 95 % intervals.

    Rows without poems, such as those of a pretrained model, are left out. The poets are grey.
    """
    rows = {name: row for name, row in rows.items() if "forms" in row}
    intervals = {name: row.get("interval", {}) for name, row in rows.items()}
    figure = Figure(figsize=(10, 2.2 + len(rows)), layout=_layout())
    left, right = figure.subplots(1, 2)
    _draw_shares(left, _RATES, {name: (row, intervals[name]) for name, row in rows.items()})
    _draw_shares(
        right,
        FORM_NAMES,
        {name: (row["forms"], intervals[name].get("forms", {})) for name, row in rows.items()},
    )
    left.set_title("rates", fontsize=11)
    right.set_title("forms", fontsize=11)
    handles, writers = left.get_legend_handles_labels()
    figure.legend(handles, writers, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def series(log_history: list[dict], key: str) -> tuple[list[int], list[float]]:
    """Returns the steps at which `key` was logged, and its finite values there."""
    points = [
        (log["step"], float(log[key]))
        for log in log_history
        if key in log and math.isfinite(float(log[key]))
    ]
    return [step for step, _ in points], [value for _, value in points]


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)


def _draw(axes: Axes, log_history: list[dict], key: str, label: str) -> None:
    steps, values = series(log_history, key)
    if len(values) > 100:  # a noisy curve is drawn pale, with its running mean on top
        axes.plot(steps, values, color=_BLUE, alpha=0.25, linewidth=0.8)
        values = _running_mean(values, len(values) // 50)
    if steps:
        axes.plot(
            steps,
            values,
            color=_BLUE,
            linewidth=1.6,
            marker="." if len(steps) == 1 else "",
            label="train",
        )
    eval_steps, eval_values = series(log_history, f"eval_{key}")
    if eval_steps:
        last = f"evaluation, {eval_values[-1]:.3f} at the end"
        axes.plot(
            eval_steps,
            eval_values,
            color=_ORANGE,
            linewidth=1.6,
            marker="o",
            markersize=3.5,
            label=last,
        )
        axes.legend(frameon=False, fontsize=9)
    if not steps and not eval_steps:
        axes.text(
            0.5, 0.5, "nothing was logged", transform=axes.transAxes, ha="center", color=_GREY
        )
    if key == "learning_rate":
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    axes.set_xlabel("step", fontsize=9, color=_GREY)
    axes.set_ylabel(label, fontsize=9, color=_GREY)
    axes.margins(x=0.02, y=0.08)
    _dress(axes)


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
        colour = _GREY if name in ("poets", "the poets") else next(colours)
        known = {
            group + (number + 0.5) * height - 0.375: key
            for group, key in enumerate(labels)
            if key in shares
        }
        label = (
            name if name.isascii() else f"writer {number + 1}"
        )  # the font has no Chinese characters
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
    axes.set_xlabel("share", fontsize=9, color=_GREY)
    _dress(axes)


def _dress(axes: Axes) -> None:
    axes.tick_params(labelsize=9, color=_GREY, labelcolor=_GREY)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Returns means over `width` neighbours on each side, (n) -> (n), fewer near the ends."""
    reach = [min(width, i, len(values) - 1 - i) for i in range(len(values))]
    return [sum(values[i - r : i + r + 1]) / (2 * r + 1) for i, r in enumerate(reach)]
