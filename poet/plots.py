"""A trainer's log history -> curves in a PNG.

Knows matplotlib and the names under which Trainer and trl log; knows nothing of folders. Labels are English, so that no
font with Chinese characters is needed, and `Figure` is used without pyplot, which keeps state and asks for a display.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

_BLUE, _ORANGE, _GREY = "#2b6cb0", "#dd6b20", "#718096"
_STAGES = {"pretrain": "pretraining", "sft": "fine-tuning", "dpo": "alignment"}


def draw_curves(log_history: list[dict], path: Path) -> None:
    """One stage: train and evaluation loss and the learning rate against steps; of DPO also reward margin and accuracy.

    Args:
        log_history: `trainer.state.log_history`; what was never logged leaves a panel that says so.
    """
    panels = [("loss", "loss"), ("learning_rate", "learning rate")]
    if any("rewards/margins" in log or "eval_rewards/margins" in log for log in log_history):
        panels += [("rewards/margins", "reward margin"), ("rewards/accuracies", "chosen above rejected")]
    figure = Figure(figsize=(10, 3.2 * len(panels) / 2), layout=_layout())
    for axes, (key, label) in zip(figure.subplots(len(panels) // 2, 2).flat, panels, strict=True):
        _draw(axes, log_history, key, label)
    figure.savefig(path, dpi=130)


def draw_stages(histories: dict[str, list[dict]], path: Path) -> None:
    """The losses of several stages side by side, {stage: log history} -> PNG; each has a loss of its own kind."""
    figure = Figure(figsize=(4.2 * len(histories), 3.4), layout=_layout())
    for axes, (stage, history) in zip(figure.subplots(1, len(histories), squeeze=False).flat, histories.items()):
        _draw(axes, history, "loss", "DPO loss" if stage == "dpo" else "loss, nats a character")
        axes.set_title(_STAGES.get(stage, stage), fontsize=11)
    figure.savefig(path, dpi=130)


def series(log_history: list[dict], key: str) -> tuple[list[int], list[float]]:
    """The steps at which `key` was logged and its values there; what is not finite is left out."""
    found = [(log["step"], float(log[key])) for log in log_history if key in log and math.isfinite(float(log[key]))]
    return [step for step, _ in found], [value for _, value in found]


def _layout() -> ConstrainedLayoutEngine:
    return ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)


def _draw(axes: Axes, log_history: list[dict], key: str, label: str) -> None:
    steps, values = series(log_history, key)
    if len(values) > 100:  # a noisy curve: pale as it is, and its running mean
        axes.plot(steps, values, color=_BLUE, alpha=0.25, linewidth=0.8)
        values = _running_mean(values, len(values) // 50)
    if steps:
        axes.plot(steps, values, color=_BLUE, linewidth=1.6, marker="." if len(steps) == 1 else "", label="train")
    eval_steps, eval_values = series(log_history, f"eval_{key}")
    if eval_steps:
        last = f"evaluation, {eval_values[-1]:.3f} at the end"
        axes.plot(eval_steps, eval_values, color=_ORANGE, linewidth=1.6, marker="o", markersize=3.5, label=last)
        axes.legend(frameon=False, fontsize=9)
    if not steps and not eval_steps:
        axes.text(0.5, 0.5, "nothing was logged", transform=axes.transAxes, ha="center", color=_GREY)
    if key == "learning_rate":
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    axes.set_xlabel("step", fontsize=9, color=_GREY)
    axes.set_ylabel(label, fontsize=9, color=_GREY)
    axes.tick_params(labelsize=9, color=_GREY, labelcolor=_GREY)
    axes.grid(alpha=0.25)
    axes.margins(x=0.02, y=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)


def _running_mean(values: Sequence[float], width: int) -> list[float]:
    """(n) -> (n): each value's mean with as many neighbours on either side, `width` or what the nearer end allows."""
    reach = [min(width, i, len(values) - 1 - i) for i in range(len(values))]
    return [sum(values[i - r : i + r + 1]) / (2 * r + 1) for i, r in enumerate(reach)]
