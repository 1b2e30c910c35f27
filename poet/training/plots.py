"""Draws the curves of a training into a PNG file.

It knows the names of values in the logs of Trainer and TRL. pyplot is not used: it keeps state and
needs a display.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from poet.files import replacing

_SAMPLED = "train, sampled vocabulary"  # lower than the loss over all characters
BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#718096"


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
    figure = Figure(figsize=(10, 3.2 * len(panels) / 2), layout=layout())
    for axes, (key, label) in zip(figure.subplots(len(panels) // 2, 2).flat, panels, strict=True):
        draw_panel(axes, log_history, key, label)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG file, or nothing if the write fails."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=130, format="png")


def series(log_history: list[dict], key: str) -> tuple[list[int], list[float]]:
    """Returns the steps at which `key` was logged, and its finite values there."""
    points = [
        (log["step"], float(log[key]))
        for log in log_history
        if key in log and math.isfinite(float(log[key]))
    ]
    return [step for step, _ in points], [value for _, value in points]


def layout() -> ConstrainedLayoutEngine:
    """Returns the layout of all figures: axes side by side with some space between them."""
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)


def draw_panel(axes: Axes, log_history: list[dict], key: str, label: str) -> None:
    """Draws the values of one key of a log history over the steps."""
    is_empty = not any(
        [
            _draw_training(axes, series(log_history, f"sampled_{key}"), GREY, _SAMPLED),
            _draw_training(axes, series(log_history, key), BLUE, "train"),
        ]
    )
    eval_steps, eval_values = series(log_history, f"eval_{key}")
    if eval_steps:
        last = f"evaluation, {eval_values[-1]:.3f} at the end"
        axes.plot(
            eval_steps,
            eval_values,
            color=ORANGE,
            linewidth=1.6,
            marker="o",
            markersize=3.5,
            label=last,
        )
        axes.legend(frameon=False, fontsize=9)
    elif is_empty:
        axes.text(0.5, 0.5, "nothing was logged", transform=axes.transAxes, ha="center", color=GREY)
    if key == "learning_rate":
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    axes.set_xlabel("step", fontsize=9, color=GREY)
    axes.set_ylabel(label, fontsize=9, color=GREY)
    axes.margins(x=0.02, y=0.08)
    tidy(axes)


def _draw_training(
    axes: Axes, points: tuple[list[int], list[float]], color: str, label: str
) -> bool:
    """Draws a curve of training, and returns whether it has points."""
    steps, values = points
    if len(values) > 100:  # a noisy curve is drawn pale, with its running mean on top
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        values = _running_mean(values, len(values) // 50)
    if steps:
        marker = "." if len(steps) == 1 else ""
        axes.plot(steps, values, color=color, linewidth=1.6, marker=marker, label=label)
    return bool(steps)


def tidy(axes: Axes) -> None:
    """Gives axes a light grid and thin grey lines."""
    axes.tick_params(labelsize=9, color=GREY, labelcolor=GREY)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """Returns means over `width` neighbours on each side, (n) -> (n), fewer near the ends."""
    reach = [min(width, i, len(values) - 1 - i) for i in range(len(values))]
    return [sum(values[i - r : i + r + 1]) / (2 * r + 1) for i, r in enumerate(reach)]
