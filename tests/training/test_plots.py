"""Figures show the numbers that were logged or measured."""

import math
from pathlib import Path

import pytest
from helpers import invented_history as history
from matplotlib.axes import Axes
from PIL import Image

from poet.training import plots


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """The points of each curve: steps and values."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_curves_go_through_the_logged_values(saved_figures, tmp_path: Path) -> None:
    plots.draw_curves(history("dpo"), tmp_path / "curves.png")
    loss, rate, margin, accuracy = saved_figures[0].axes
    steps = [0, 10, 20, 30, 40]
    train = [4.4 + 1 / step for step in steps[1:]]
    assert lines(loss) == [(steps[1:], train), (steps, [4.4 + 2 / (step + 1) for step in steps])]
    assert lines(rate) == [(steps[1:], [1e-3 * (1 - step / 40) for step in steps[1:]])]
    assert lines(margin) == [(steps, [step / 40 for step in steps])]
    assert lines(accuracy) == [(steps, [0.5 + step / 160 for step in steps])]
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (1300, 832)


def test_losses_over_a_sampled_vocabulary_have_a_curve_of_their_own(saved_figures, tmp_path):
    logged = [{"sampled_loss": 4.0, "step": 1}, {"sampled_loss": 3.9, "step": 2}]
    logged += [{"loss": 4.5, "step": 3}, {"eval_loss": 4.4, "step": 3}]
    plots.draw_curves(logged, tmp_path / "curves.png")
    axes = saved_figures[0].axes[0]
    assert lines(axes) == [([1, 2], [4.0, 3.9]), ([3], [4.5]), ([3], [4.4])]
    assert axes.get_legend().get_texts()[0].get_text() == "train, sampled vocabulary"


def test_a_stage_without_rewards_has_two_panels(saved_figures, tmp_path: Path) -> None:
    plots.draw_curves(history("sft"), tmp_path / "curves.png")
    assert [axes.get_ylabel() for axes in saved_figures[0].axes] == ["loss", "learning rate"]


def test_a_long_noisy_curve_gets_its_running_mean(saved_figures, tmp_path: Path) -> None:
    logged = history("pretrain", steps=4000)
    plots.draw_curves(logged, tmp_path / "curves.png")
    noisy, smooth, _ = lines(saved_figures[0].axes[0])
    values = [log["loss"] for log in logged if "loss" in log]
    assert noisy[1] == values
    assert smooth[1][200] == pytest.approx(sum(values[192:209]) / 17)


def test_a_single_step_is_a_visible_point(saved_figures, tmp_path: Path) -> None:
    logged = [{"loss": 5.0, "learning_rate": 0.0, "step": 1}]
    plots.draw_curves(logged, tmp_path / "curves.png")
    (line,) = saved_figures[0].axes[0].lines
    assert lines(saved_figures[0].axes[0]) == [([1], [5.0])] and line.get_marker() == "."


@pytest.mark.parametrize(
    "log_history",
    [[], [{"loss": math.nan, "step": 1}, {"eval_loss": math.inf, "step": 1}]],
    ids=["empty", "not finite"],
)
def test_a_panel_without_values_says_so(
    log_history: list[dict], saved_figures, tmp_path: Path
) -> None:
    plots.draw_curves(log_history, tmp_path / "curves.png")
    for axes in saved_figures[0].axes:
        assert not axes.lines and [text.get_text() for text in axes.texts] == ["nothing was logged"]


def test_smoothing_keeps_a_straight_line_straight() -> None:
    assert plots._running_mean([float(i) for i in range(9)], 3) == [float(i) for i in range(9)]
