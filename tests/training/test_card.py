"""Model cards made from short log histories."""

import math
import re
from pathlib import Path

import pytest
import yaml
from helpers import invented_history as history

from poet.training import plots
from poet.training.card import duration, write_card


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
    header, body = card(tmp_path, "sft", base_model="runs/pretrain", corpus="/home/me/poems")
    assert not header.keys() & {"base_model", "datasets", "license"}
    assert "runs/" not in body and "/home" not in body and "../" not in body
    header, _ = card(tmp_path, "sft", base_model="me/poet", corpus="me/poems")
    assert (header["base_model"], header["datasets"]) == ("me/poet", "me/poems")


def test_card_links_lead_somewhere(tmp_path: Path) -> None:
    _, body = card(tmp_path, "dpo", corpus="tang")
    assert "curves.png" not in body  # there are none yet
    plots.draw_curves(history("dpo"), tmp_path / "curves.png")
    _, body = card(tmp_path, "dpo", corpus="tang")
    links = re.findall(r"\]\((.*?)\)", body)
    assert "curves.png" in links
    assert all(link.startswith("https://") or (tmp_path / link).is_file() for link in links)


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.7, 754.2, 3780)] == [
        "0 s",
        "1 min 0 s",
        "12 min 34 s",
        "1 h 3 min",
    ]
