"""Figures show the numbers that were logged or measured."""

import math
import warnings
from pathlib import Path

import pytest
from helpers import invented_history as history
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from poet.training import plots


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that a test saves. A warning of matplotlib is an error."""
    saved: list[Figure] = []
    save = Figure.savefig

    def save_and_keep(figure: Figure, *args, **kwargs) -> None:
        saved.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", save_and_keep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield saved


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """The points of each curve: steps and values."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_curves_go_through_the_logged_values(figures, tmp_path: Path) -> None:
    plots.draw_curves(history("dpo"), tmp_path / "curves.png")
    loss, rate, margin, accuracy = figures[0].axes
    steps = [0, 10, 20, 30, 40]
    train = [4.4 + 1 / step for step in steps[1:]]
    assert lines(loss) == [(steps[1:], train), (steps, [4.4 + 2 / (step + 1) for step in steps])]
    assert lines(rate) == [(steps[1:], [1e-3 * (1 - step / 40) for step in steps[1:]])]
    assert lines(margin) == [(steps, [step / 40 for step in steps])]
    assert lines(accuracy) == [(steps, [0.5 + step / 160 for step in steps])]
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (1300, 832)


def test_a_stage_without_rewards_has_two_panels(figures, tmp_path: Path) -> None:
    plots.draw_curves(history("sft"), tmp_path / "curves.png")
    assert [axes.get_ylabel() for axes in figures[0].axes] == ["loss", "learning rate"]


def test_a_long_noisy_curve_gets_its_running_mean(figures, tmp_path: Path) -> None:
    logged = history("pretrain", steps=4000)
    plots.draw_curves(logged, tmp_path / "curves.png")
    noisy, smooth, _ = lines(figures[0].axes[0])
    values = [log["loss"] for log in logged if "loss" in log]
    assert noisy[1] == values
    assert smooth[1][200] == pytest.approx(sum(values[192:209]) / 17)


def test_a_single_step_is_a_visible_point(figures, tmp_path: Path) -> None:
    logged = [{"loss": 5.0, "learning_rate": 0.0, "step": 1}]
    plots.draw_curves(logged, tmp_path / "curves.png")
    (line,) = figures[0].axes[0].lines
    assert lines(figures[0].axes[0]) == [([1], [5.0])] and line.get_marker() == "."


@pytest.mark.parametrize(
    "log_history",
    [[], [{"loss": math.nan, "step": 1}, {"eval_loss": math.inf, "step": 1}]],
    ids=["empty", "not finite"],
)
def test_a_panel_without_values_says_so(log_history: list[dict], figures, tmp_path: Path) -> None:
    plots.draw_curves(log_history, tmp_path / "curves.png")
    for axes in figures[0].axes:
        assert not axes.lines and [text.get_text() for text in axes.texts] == ["nothing was logged"]


def test_each_stage_has_a_panel_with_its_own_loss(figures, tmp_path: Path) -> None:
    histories = {"pretrain": history("pretrain", end=4.4), "dpo": history("dpo", end=0.4)}
    plots.draw_stages(histories, tmp_path / "report.png")
    assert [axes.get_title() for axes in figures[0].axes] == ["pretraining", "alignment"]
    ends = [lines(axes)[1][1][-1] for axes in figures[0].axes]
    assert ends == [4.4 + 2 / 41, 0.4 + 2 / 41]


RATES = {
    "well_formed": 0.9,
    "five_character": 0.5,
    "rhymed": 0.8,
    "regulated": 0.0,
    "copied_lines": 0.01,
}


def verse_row(**forms: float) -> dict:
    intervals = {key: (value * 0.9, value * 0.9 + 0.1) for key, value in RATES.items()}
    return {
        **RATES,
        "forms": forms,
        "interval": {**intervals, "forms": {key: (0.0, 0.5) for key in forms}},
    }


def bars(axes: Axes) -> dict[str, list[float]]:
    """The lengths of the bars of each writer."""
    return {group.get_label(): [bar.get_width() for bar in group] for group in axes.containers}


def test_bars_are_as_long_as_the_rates(figures, tmp_path: Path) -> None:
    rows = {
        "runs/tang/sft": verse_row(五言律詩=0.4),
        "runs/詩/dpo": verse_row(irregular=1.0),
        "pretrain": {"loss": 4.4, "interval": {"loss": (4.3, 4.5)}},
        "poets": verse_row(),
    }
    plots.draw_verse(rows, tmp_path / "verse.png")
    left, right = figures[0].axes
    # The font has no Chinese characters, and a pretrained model writes no poems.
    names = ["runs/tang/sft", "writer 2", "poets"]
    assert bars(left) == {name: list(RATES.values()) for name in names}
    assert bars(right) == {"runs/tang/sft": [0.4], "writer 2": [1.0], "poets": []}
    whiskers = [list(line.get_xdata()) for line in left.lines[:5]]
    assert whiskers == [[rate * 0.9, rate * 0.9 + 0.1] for rate in RATES.values()]
    assert [list(line.get_xdata()) for line in right.lines] == [[0.0, 0.5], [0.0, 0.5]]


@pytest.mark.parametrize("writers", [0, 9])
def test_any_number_of_writers_is_drawn(writers: int, figures, tmp_path: Path) -> None:
    rows = {f"checkpoint-{n}": {"forms": {"五言絕句": n / 10}} for n in range(writers)}
    plots.draw_verse(rows, tmp_path / "verse.png")
    _, right = figures[0].axes
    assert bars(right) == {name: [row["forms"]["五言絕句"]] for name, row in rows.items()}


def test_every_form_of_the_judge_has_a_name_in_the_figure() -> None:
    forms = {
        length + form for length in "五七" for form in ("言絕句", "言律詩", "言排律", "言古體")
    }
    assert plots.FORM_NAMES.keys() == forms | {"irregular"}
    assert all(name.isascii() or "ü" in name for name in plots.FORM_NAMES.values())


def test_smoothing_keeps_a_straight_line_straight() -> None:
    assert plots._running_mean([float(i) for i in range(9)], 3) == [float(i) for i in range(9)]
