"""A run folder -> report.md: the journey on one page, with figures.

Knows the files that the stages leave; trains and measures nothing. Links are relative, so a run folder can be moved.
"""

import json
import re
from pathlib import Path
from typing import Any

from poet import plots
from poet.card import duration, measured
from poet.checkpoints import write_text
from poet.dataset import STAGES, format_summary, load_summary

_TITLES = {"pretrain": "Pretraining", "sft": "Fine-tuning", "dpo": "Alignment"}
_COLUMNS = {"sft": "before (sft)", "dpo": "after (dpo)", "poets": "the poets"}
_RATES = ("well_formed", "five_character", "rhymed", "regulated")


def write_report(run_dir: Path, rates: dict[str, dict[str, Any]]) -> Path:
    """Writes `run_dir`/report.md and report.png, and returns the former; a stage that has not ended is left out.

    Args:
        rates: rows of `poet evaluate` under "sft", "dpo" and "poets"; with none, the table of alignment is left out.

    Raises:
        UserError: the run has no data.
    """
    histories = {}
    for stage in STAGES:
        state = run_dir / stage / "trainer_state.json"
        if state.is_file():
            histories[stage] = json.loads(state.read_text(encoding="utf-8"))["log_history"]
    parts = [f"# The run {run_dir.name}", f"## Data\n\n```\n{format_summary(load_summary(run_dir))}\n```"]
    if histories:
        plots.draw_stages(histories, run_dir / "report.png")
        parts += ["## Stages", _table_of_stages(histories), "![losses of the stages side by side](report.png)"]
    if rates:
        parts.append(f"## Before and after alignment\n\n{_table_of_rates(rates)}")
    for stage in histories:
        parts.append(f"## {_TITLES[stage]}")
        if (run_dir / stage / "samples.jsonl").is_file():
            parts.append(_samples(run_dir / stage / "samples.jsonl"))
        parts.append(f"![curves]({stage}/curves.png)")
    write_text(run_dir / "report.md", "\n\n".join(parts) + "\n")
    return run_dir / "report.md"


def _table_of_stages(histories: dict[str, list[dict]]) -> str:
    rows = ["| stage | steps | time | on held-out poems |", "|---|---|---|---|"]
    for stage, history in histories.items():
        seconds = [log["train_runtime"] for log in history if "train_runtime" in log]
        time = duration(seconds[-1]) if seconds else ""
        results = ", ".join(f"{name} {value:.3f}" for name, value in measured(stage, history).items())
        rows.append(f"| {_TITLES[stage].lower()} | {history[-1]['step']:,} | {time} | {results} |")
    return "\n".join(rows) + "\n\nTime is that of training since its last start, evaluation and samples included."


def _table_of_rates(rates: dict[str, dict[str, Any]]) -> str:
    """One column a writer, one row a measure, in the order in which `poet evaluate` gives them."""
    rows = {name: _flat(row) for name, row in rates.items()}
    measures = dict.fromkeys(key for row in rows.values() for key in row)
    head = " | ".join(_COLUMNS.get(name, name) for name in rows)
    lines = [f"| | {head} |", "|---" * (len(rows) + 1) + "|"]
    lines += [
        f"| {key.replace('_', ' ')} | {' | '.join(row.get(key, '') for row in rows.values())} |" for key in measures
    ]
    return "\n".join(lines) + "\n\nRates are shares of all poems that were written, with their 95 % interval."


def _flat(row: dict[str, Any]) -> dict[str, str]:
    """{measure: its value as shown}; each form becomes a measure of its own."""
    interval = row.get("interval", {})
    shown: dict[str, str] = {}
    for key, value in row.items():
        if key == "forms":
            shown |= {f"form {form}": f"{rate:.1%}" for form, rate in value.items()}
        elif isinstance(value, (int, float)):
            shown[key] = f"{value:.1%}" if key in _RATES else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
            if key in interval:
                low, high = interval[key]
                shown[key] += f" ({low:.1%} to {high:.1%})" if key in _RATES else f" ({low:.3f} to {high:.3f})"
    return shown


def _samples(path: Path) -> str:
    """What the model wrote at the first, the middle and the last evaluation, side by side."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not records:
        return ""
    records = [records[i] for i in sorted({0, len(records) // 2, len(records) - 1})]
    lines = [
        f"Prompt: {_escape(records[0]['prompt'])}",
        "",
        "| | " + " | ".join(f"step {record['step']:,}, loss {record['eval_loss']:.3f}" for record in records) + " |",
        "|---" * (len(records) + 1) + "|",
    ]
    for key, name in (("text", "the model"), ("reference", "before alignment")):
        if key in records[0]:
            lines.append(f"| {name} | " + " | ".join(_escape(record[key]) for record in records) + " |")
    return "\n".join(lines)


def _escape(text: str) -> str:
    """Whatever a model wrote as plain text in a cell of a Markdown table."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text.strip()).replace("\n", "<br>")
