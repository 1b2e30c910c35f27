"""Curves, model cards and reports, made from short histories of the shapes that Trainer and trl log."""

import json
import math
import re
import warnings
from pathlib import Path

import pytest
import yaml
from PIL import Image

from poet.data.run_data import DataOptions, build_datasets
from poet.errors import UserError
from poet.evaluation.report import write_report
from poet.training import plots
from poet.training.card import duration, write_card


def history(stage: str, steps: int = 40, end: float = 4.4) -> list[dict]:
    logs: list[dict] = []
    for step in range(0, steps + 1, 10):
        if step:
            logs.append(
                {"loss": end + 1 / step, "learning_rate": 1e-3 * (1 - step / steps), "step": step}
            )
        logs.append({"eval_loss": end + 2 / (step + 1), "eval_runtime": 0.5, "step": step})
        if stage == "dpo":
            logs[-1] |= {
                "eval_rewards/margins": step / steps,
                "eval_rewards/accuracies": 0.5 + step / steps / 4,
            }
    return [*logs, {"train_runtime": 754.2, "seconds": 754.2, "train_loss": 5.0, "step": steps}]


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


def colours(path: Path) -> int:
    with Image.open(path) as image:
        return len(image.convert("RGB").getcolors(1 << 24))


@pytest.mark.parametrize(
    "log_history",
    [
        history("pretrain"),
        history("dpo"),
        history("pretrain", steps=4000),
        [{"loss": 5.0, "learning_rate": 0.0, "step": 1}],
        [{"loss": math.nan, "step": 1}, {"eval_loss": math.inf, "step": 1}],
        [],
    ],
    ids=["pretrain", "dpo", "long", "one step", "not finite", "empty"],
)
def test_any_history_is_drawn_without_a_warning(log_history: list[dict], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.draw_curves(log_history, tmp_path / "curves.png")
    assert colours(tmp_path / "curves.png") > 20  # axes and labels at least


def test_alignment_has_two_panels_more(tmp_path: Path) -> None:
    heights = {}
    for stage in ("sft", "dpo"):
        plots.draw_curves(history(stage), tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as image:
            heights[stage] = image.height
    assert heights["dpo"] == 2 * heights["sft"]


def verse_row(**forms: float) -> dict:
    rates = {
        "well_formed": 0.9,
        "five_character": 0.5,
        "rhymed": 0.8,
        "regulated": 0.0,
        "copied_lines": 0.01,
    }
    intervals = {key: (value * 0.9, value * 0.9 + 0.1) for key, value in rates.items()}
    return {
        **rates,
        "forms": forms,
        "interval": {**intervals, "forms": {key: (0.0, 0.5) for key in forms}},
    }


@pytest.mark.parametrize(
    "rows",
    [
        {
            "runs/tang/sft": verse_row(五言律詩=0.4),
            "runs/詩/dpo": verse_row(irregular=1.0),
            "poets": verse_row(),
        },
        {
            "runs/tang/pretrain": {"loss": 4.4, "interval": {"loss": (4.3, 4.5)}},
            "poets": verse_row(七言古體=1.0),
        },
        {f"checkpoint-{n}": {"forms": {"五言絕句": 0.3}} for n in range(9)},
        {},
    ],
    ids=["stages", "pretrain", "many", "none"],
)
def test_verse_of_any_writers_is_drawn_without_a_warning(rows: dict, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.draw_verse(rows, tmp_path / "verse.png")
    assert colours(tmp_path / "verse.png") > 20


def test_every_form_of_the_judge_has_a_name_in_the_figure() -> None:
    forms = (
        "五言絕句",
        "五言律詩",
        "五言排律",
        "五言古體",
        "七言絕句",
        "七言律詩",
        "七言排律",
        "七言古體",
        "irregular",
    )
    assert plots._FORMS.keys() == set(forms)
    assert all(name.isascii() or "ü" in name for name in plots._FORMS.values())


def test_smoothing_keeps_a_straight_line_straight() -> None:
    assert plots._running_mean([float(i) for i in range(9)], 3) == [float(i) for i in range(9)]


def card(folder: Path, stage: str, **facts: object) -> tuple[dict, str]:
    write_card(folder, history(stage), {"stage": stage, **facts})
    _, header, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), body


def test_card_states_measured_results(tmp_path: Path) -> None:
    header, body = card(tmp_path, "sft", parameters=5_512_345, seconds=754.2, verse_rate=0.955)
    loss = 4.4 + 2 / 41
    assert header["language"] == "zh"
    assert (header["library_name"], header["pipeline_tag"]) == ("transformers", "text-generation")
    (result,) = header["model-index"][0]["results"]
    assert {m["type"]: m["value"] for m in result["metrics"]} == {
        "evaluation_loss": pytest.approx(loss, abs=1e-4),
        "perplexity": pytest.approx(math.exp(loss), abs=1e-4),
    }
    assert "| parameters | 5,512,345 |" in body
    assert "| training time | 12 min 34 s |" in body
    assert "| verse rate | 0.955 |" in body


def test_card_of_alignment_gives_no_perplexity(tmp_path: Path) -> None:
    header, body = card(tmp_path, "dpo")
    assert "perplexity" not in body
    (result,) = header["model-index"][0]["results"]
    assert {m["name"] for m in result["metrics"]} == {
        "DPO loss",
        "reward margin",
        "reward accuracy",
    }


@pytest.mark.parametrize("stage", ["pretrain", "sft", "dpo"])
def test_the_code_on_a_card_is_python_and_asks_as_the_stage_wants(
    stage: str, tmp_path: Path
) -> None:
    _, body = card(tmp_path, stage)
    (code,) = re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    compile(code, "README.md", "exec")
    assert ('"role": "user"' in code) == (stage != "pretrain")


def test_card_names_only_ids_on_a_hub_and_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/pretrain").mkdir(parents=True)
    header, body = card(
        tmp_path, "sft", base_model="runs/pretrain", corpus="/home/me/poems", dataset="../poems"
    )
    assert not header.keys() & {"base_model", "datasets", "license"}
    assert "runs/" not in body and "/home" not in body and "../" not in body
    header, _ = card(tmp_path, "sft", base_model="me/poet", dataset="me/poems")
    assert (header["base_model"], header["datasets"]) == ("me/poet", "me/poems")


def test_card_links_lead_somewhere(tmp_path: Path) -> None:
    _, body = card(tmp_path, "dpo", corpus="tang")
    assert "curves.png" not in body  # there are none yet
    plots.draw_curves(history("dpo"), tmp_path / "curves.png")
    _, body = card(tmp_path, "dpo", corpus="tang")
    links = re.findall(r"\]\((.*?)\)", body)
    assert "curves.png" in links
    assert all(link.startswith("https://") or (tmp_path / link).is_file() for link in links)


def test_report_tells_the_whole_journey(run_dir: Path) -> None:
    row = {"well_formed": 0.955, "forms": {"五言絕句": 0.5}, "distinct_2": 0.71, "longest_copy": 7}
    rates = {
        "sft": row,
        "dpo": {**row, "interval": {"well_formed": [0.91, 0.98]}},
        "poets": {"well_formed": 1.0},
    }
    path = write_report(run_dir, rates)
    text = path.read_text(encoding="utf-8")
    assert path == run_dir / "report.md"
    assert "40 poems read" in text
    assert "| pretraining | 40 | 12 min 34 s | evaluation loss 4.449, perplexity" in text
    assert "| | before (sft) | after (dpo) | the poets |" in text
    assert "| well formed | 0.955 | 0.955 (0.910 to 0.980) | 1.000 |" in text
    assert "| form 五言絕句 | 0.500 | 0.500 |  |" in text
    assert "| longest copy | 7 | 7 |  |" in text
    links = re.findall(r"\]\((.*?)\)", text)
    assert links == [
        "report.png",
        "verse.png",
        "pretrain/curves.png",
        "sft/curves.png",
        "dpo/curves.png",
    ]
    assert all(colours(run_dir / link) > 20 for link in links)


def test_cards_get_the_rates_of_the_last_evaluation(run_dir: Path) -> None:
    before = (run_dir / "dpo" / "README.md").read_text(encoding="utf-8")
    for rate in (0.8, 0.955):
        write_report(run_dir, {"dpo": {"well_formed": rate}, "poets": {"well_formed": 1.0}})
    text = (run_dir / "dpo" / "README.md").read_text(encoding="utf-8")
    start, end = text.index("## Verse"), text.index("## Limits")
    assert (
        "| | this model | the poets |" in text[start:end]
        and "| well formed | 0.955 | 1.000 |" in text[start:end]
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


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.7, 754.2, 3780)] == [
        "0 s",
        "1 min 0 s",
        "12 min 34 s",
        "1 h 3 min",
    ]
