"""Figures of a report show the numbers that were measured."""

from pathlib import Path

import pytest
from helpers import invented_history as history
from matplotlib.axes import Axes

from poet.evaluation import figures


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """The points of each curve: steps and values."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_each_stage_has_a_panel_with_its_own_loss(saved_figures, tmp_path: Path) -> None:
    histories = {"pretrain": history("pretrain", end=4.4), "dpo": history("dpo", end=0.4)}
    figures.draw_stages(histories, tmp_path / "report.png")
    assert [axes.get_title() for axes in saved_figures[0].axes] == ["pretraining", "alignment"]
    ends = [lines(axes)[1][1][-1] for axes in saved_figures[0].axes]
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


def test_bars_are_as_long_as_the_rates(saved_figures, tmp_path: Path) -> None:
    rows = {
        "runs/tang/sft": verse_row(五言律詩=0.4),
        "runs/詩/dpo": verse_row(irregular=1.0),
        "pretrain": {"loss": 4.4, "interval": {"loss": (4.3, 4.5)}},
        "poets": verse_row(),
    }
    figures.draw_rates(rows, tmp_path / "verse.png")
    left, right = saved_figures[0].axes
    # The font has no Chinese characters, and a pretrained model writes no poems.
    names = ["runs/tang/sft", "writer 2", "poets"]
    assert bars(left) == {name: list(RATES.values()) for name in names}
    assert bars(right) == {"runs/tang/sft": [0.4], "writer 2": [1.0], "poets": []}
    whiskers = [list(line.get_xdata()) for line in left.lines[:5]]
    assert whiskers == [[rate * 0.9, rate * 0.9 + 0.1] for rate in RATES.values()]
    assert [list(line.get_xdata()) for line in right.lines] == [[0.0, 0.5], [0.0, 0.5]]


def test_every_run_is_in_the_legend_under_its_own_name(saved_figures, tmp_path: Path) -> None:
    names = ["_mine", "$x_{$", "a$b$c", "runs/été/dpo", "poets"]
    figures.draw_rates({name: verse_row() for name in names}, tmp_path / "rates.png")
    (legend,) = saved_figures[0].legends
    assert [text.get_text() for text in legend.get_texts()] == names
    # The same bars, in the same colours.
    bars_of = saved_figures[0].axes[0].containers
    colours = [handle.get_facecolor() for handle in legend.legend_handles]
    assert colours == [group[0].get_facecolor() for group in bars_of]


@pytest.mark.parametrize("writers", [0, 9])
def test_any_number_of_writers_is_drawn(writers: int, saved_figures, tmp_path: Path) -> None:
    rows = {f"checkpoint-{n}": {"forms": {"五言絕句": n / 10}} for n in range(writers)}
    figures.draw_rates(rows, tmp_path / "verse.png")
    _, right = saved_figures[0].axes
    assert bars(right) == {name: [row["forms"]["五言絕句"]] for name, row in rows.items()}


def test_every_form_of_the_judge_has_a_name_in_the_figure() -> None:
    forms = {
        length + form for length in "五七" for form in ("言絕句", "言律詩", "言排律", "言古體")
    }
    assert figures.FORM_NAMES.keys() == forms | {"irregular"}
    assert all(name.isascii() or "ü" in name for name in figures.FORM_NAMES.values())
