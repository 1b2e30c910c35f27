"""The report of a run, made from short log histories."""

import json
import re
from pathlib import Path

import pytest
from helpers import invented_history as history

from poet.data.run_data import DataOptions, build_datasets
from poet.errors import UserError
from poet.evaluation.intervals import Estimate
from poet.evaluation.report import write_report
from poet.evaluation.row import Row
from poet.training import plots
from poet.training.card import write_card


def row(rate: float, **measures) -> Row:
    return Row(well_formed=Estimate(rate, (rate - 0.05, rate)), forms={}, **measures)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of forty poems whose three stages have ended, without their weights."""
    corpus = tmp_path / "poems.jsonl"
    with corpus.open("w", encoding="utf-8") as file:
        for i in range(40):
            half = "春風花月夜" if i % 2 else "春風花月夜江山"
            line = f"{half}，{chr(0x4E00 + i)}{half[1:]}。"
            print(
                json.dumps({"title": f"其{i}", "paragraphs": [line, line]}, ensure_ascii=False),
                file=file,
            )
    build_datasets(
        DataOptions(
            corpus=str(corpus),
            seed=1,
            split=[5, 3, 2],
            held_out=0.1,
            min_couplets=2,
            equal_couplets=True,
            forbidden="",
            preference="five-character",
        ),
        tmp_path / "run",
    )
    for stage in ("pretrain", "sft", "dpo"):
        folder = tmp_path / "run" / stage
        folder.mkdir()
        (folder / "trainer_state.json").write_text(
            json.dumps({"log_history": history(stage)}), encoding="utf-8"
        )
        plots.draw_curves(history(stage), folder / "curves.png")
        write_card(folder, history(stage), {"stage": stage})
        with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
            for step in range(0, 50, 10):
                sample = {
                    "step": step,
                    "prompt": "春夜喜雨",
                    "text": f"第{step}首，\n<RES>|*好*。",
                    "eval_loss": 4.5,
                }
                if stage == "dpo":
                    sample["reference"] = f"舊{step}"
                print(json.dumps(sample, ensure_ascii=False), file=file)
    return tmp_path / "run"


def test_report_tells_the_whole_journey(run_dir: Path) -> None:
    forms = {"五言絕句": Estimate(0.5, (0.4, 0.6))}
    rates = {
        "sft": Row(forms=forms, longest_copy=7),
        "dpo": Row(well_formed=Estimate(0.955, (0.91, 0.98)), forms=forms),
        "poets": Row(well_formed=Estimate(1.0, (0.97, 1.0)), forms={}),
    }
    path = write_report(run_dir, rates)
    text = path.read_text(encoding="utf-8")
    assert path == run_dir / "report.md"
    assert "40 poems read" in text
    assert "| pretraining | 40 | 12 min 34 s | evaluation loss 4.449, perplexity" in text
    assert "| | better | before (sft) | after (dpo) | the poets |" in text
    assert "| 0.955 (0.910 to 0.980) | 1.000 (0.970 to 1.000) |" in text
    assert "| form 五言絕句 | as the poets | 0.500 (0.400 to 0.600) |" in text
    assert "| longest copy, characters | lower | 7 |  |  |" in text
    links = re.findall(r"\]\((.*?)\)", text)
    assert links == [
        "report.png",
        "verse.png",
        "pretrain/curves.png",
        "sft/curves.png",
        "dpo/curves.png",
    ]
    assert all((run_dir / link).is_file() for link in links)


def test_cards_get_the_rates_of_the_last_evaluation(run_dir: Path) -> None:
    before = (run_dir / "dpo" / "README.md").read_text(encoding="utf-8")
    for rate in (0.8, 0.955):
        write_report(run_dir, {"dpo": row(rate), "poets": row(1.0)})
    text = (run_dir / "dpo" / "README.md").read_text(encoding="utf-8")
    start, end = text.index("## Verse"), text.index("## Limits")
    assert (
        "| | better | this model | the poets |" in text[start:end]
        and "| 0.955 (0.905 to 0.955) | 1.000" in text[start:end]
    )
    assert text[:start] + text[end:] == before  # once, and nothing else has changed


def test_report_shows_the_first_the_middle_and_the_last_sample_as_plain_text(run_dir: Path) -> None:
    text = write_report(run_dir, {}).read_text(encoding="utf-8")
    alignment = text.split("## Alignment\n")[1]
    assert "step 0, loss 4.500 | step 20, loss 4.500 | step 40, loss 4.500" in alignment
    assert r"第40首，<br>\<RES\>\|\*好\*。" in alignment
    assert "| before alignment | 舊0 | 舊20 | 舊40 |" in alignment
    assert "Before and after" not in text


def test_report_of_an_unfinished_run_leaves_out_what_has_not_ended(run_dir: Path) -> None:
    (run_dir / "dpo" / "trainer_state.json").unlink()
    text = write_report(run_dir, {}).read_text(encoding="utf-8")
    assert "## Fine-tuning" in text and "## Alignment" not in text


def test_report_without_data_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--stages data"):
        write_report(tmp_path, {})
