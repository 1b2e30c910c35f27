"""A run folder -> report.md: the journey on one page, with figures.

Knows the files that the stages leave; trains and measures nothing. Links are relative, so a run folder can be moved.
"""

import json
import re
from pathlib import Path

from poet.data.run_data import format_summary, load_summary
from poet.evaluation.row import Row
from poet.evaluation.table import table
from poet.files import write_text
from poet.training import plots
from poet.training.card import (
    add_evaluation,
    duration,
    measured,
    of_earlier_rounds,
    seconds_trained,
)
from poet.training.checkpoints import log_history
from poet.training.stages import ALIGNED, JOURNEY

_COLUMNS = {
    "sft": "before (sft)",
    **{stage: f"after ({stage})" for stage in ALIGNED},
    "poets": "the poets",
}
_TIME = "Time is that of training, evaluation and samples included, and what came before an interruption or the last of several rounds."
_RATES = (
    "Losses are nats a character of held-out text, `unseen` without the poems that leaked into training; rates are "
    "shares of all poems that were written. In brackets, the 95 % interval."
)


def write_report(run_dir: Path, rates: dict[str, Row]) -> Path:
    """Writes `run_dir`/report.md, report.png and verse.png, and returns the first; a stage that has not ended is left out.

    The model cards of the evaluated stages get their rates too.

    Args:
        rates: rows of `poet evaluate` under "sft", ways of alignment and "poets"; with none, alignment's table and figure are left out.

    Raises:
        UserError: the run has no data.
    """
    histories = {stage: history for stage in JOURNEY if (history := log_history(run_dir / stage))}
    parts = [
        f"# The run {run_dir.name}",
        f"## Data\n\n```\n{format_summary(load_summary(run_dir))}\n```",
    ]
    if histories:
        plots.draw_stages(histories, run_dir / "report.png")
        parts += [
            "## Stages",
            _table_of_stages(run_dir, histories),
            "![losses of the stages side by side](report.png)",
        ]
    if rates:
        rows = {_COLUMNS.get(name, name): row for name, row in rates.items()}
        plots.draw_verse({name: row.to_json() for name, row in rows.items()}, run_dir / "verse.png")
        for stage in rates.keys() & histories.keys():
            columns = {"this model": rates[stage], "the poets": rates["poets"]}
            add_evaluation(run_dir / stage, f"{table(columns)}\n\n{_RATES}")
        parts += [
            "## Before and after alignment",
            table(rows),
            _RATES,
            "![forms and rates of the verse](verse.png)",
        ]
    for stage in histories:
        parts.append(f"## {JOURNEY[stage].name.capitalize()}")
        if (run_dir / stage / "samples.jsonl").is_file():
            parts.append(_samples(run_dir / stage / "samples.jsonl"))
        parts.append(f"![curves]({stage}/curves.png)")
    write_text(run_dir / "report.md", "\n\n".join(parts) + "\n")
    return run_dir / "report.md"


def _table_of_stages(run_dir: Path, histories: dict[str, list[dict]]) -> str:
    rows = ["| stage | steps | time | on held-out poems |", "|---|---|---|---|"]
    for stage, history in histories.items():
        seconds, steps = of_earlier_rounds(run_dir / stage)
        seconds += seconds_trained(history)
        time = duration(seconds) if seconds else ""
        results = ", ".join(
            f"{name} {value:.3f}" for name, value in measured(stage, history).items()
        )
        rows.append(
            f"| {JOURNEY[stage].name} | {steps + history[-1]['step']:,} | {time} | {results} |"
        )
    return "\n".join(rows) + f"\n\n{_TIME}"


def _samples(path: Path) -> str:
    """What the model wrote at the first, the middle and the last evaluation, side by side."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if not records:
        return ""
    records = [records[i] for i in sorted({0, len(records) // 2, len(records) - 1})]
    lines = [
        f"Prompt: {_escape(records[0]['prompt'])}",
        "",
        "| | "
        + " | ".join(
            f"step {record['step']:,}, loss {record['eval_loss']:.3f}" for record in records
        )
        + " |",
        "|---" * (len(records) + 1) + "|",
    ]
    for key, name in (("text", "the model"), ("reference", "before alignment")):
        if key in records[0]:
            lines.append(
                f"| {name} | " + " | ".join(_escape(record[key]) for record in records) + " |"
            )
    return "\n".join(lines)


def _escape(text: str) -> str:
    """Whatever a model wrote as plain text in a cell of a Markdown table."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text.strip()).replace("\n", "<br>")
