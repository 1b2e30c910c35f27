"""Writes report.md, which shows a whole run on one page.

It knows the files that the stages leave in a run folder. It does not train or measure.
Links are relative, so that a run folder can be moved.
"""

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

from safetensors import safe_open

from poet.data.build import format_summary
from poet.data.kind import Kind, kind_of
from poet.data.options import SOURCE_KEYS
from poet.data.run_data import load_summary, sample_title
from poet.data.shapes import POEMS
from poet.errors import shorten
from poet.evaluation import figures
from poet.evaluation.intervals import Estimate
from poet.evaluation.row import Row
from poet.evaluation.table import POETS, poets_name, table
from poet.files import write_text
from poet.text import visible
from poet.training.card import (
    add_evaluation,
    duration,
    measured,
    of_earlier_rounds,
    seconds_trained,
)
from poet.training.checkpoints import log_history
from poet.training.stages import ALIGNED, JOURNEY

_PROMPT_LENGTH = 200  # characters in a heading
Histories = dict[str, list[dict]]

_GLOSSES = {  # the titles that training shows samples for, in the recipes sample and tang
    "冬日對酒": "Wine on a Winter Day",
    "東郊迎春": "Welcoming Spring in the Eastern Fields",
}
_PREFERRED_MEASURES = {  # a preference of alignment -> the measure that it should raise
    "five-character": "five_character",
    "regulated": "regulated",
    "rhymed": "rhymed",
}
_HOW_TO_LOOK = """\
You need no Chinese to see that the model learns. Count the characters up to each mark. In a \
well-formed poem every line has five characters, or every line has seven. Each row has two lines: \
the first ends in ， and the second in 。"""
_RISING_LOSS = """\
The loss of all poems may rise: alignment makes other poems less likely. If the loss of the \
preferred poems rises as much, alignment has failed."""
_TIME = """\
The time includes evaluations and samples. Time before an interruption and earlier rounds \
count too."""
_LOSSES = "Losses are in nats per character of held-out {texts}."
_RATES = "Rates are shares of all {texts} that were written."
_INTERVALS = """\
The brackets show the 95 % interval. `docs/evaluation.md` defines every measure."""


def write_report(run_dir: Path, rates: dict[str, Row]) -> Path:
    """Writes report.md, report.png and, with rates, verse.png. Returns the path of report.md.

    Unfinished stages are left out. The model cards of the evaluated stages get their
    rates too.

    Args:
        rates: the rows of "sft", of the ways of alignment and of "poets". Without fine-tuning,
            the row of "pretrain". If it is empty, the report has no measures.

    Raises:
        UserError: the run has no data.
    """
    summary = load_summary(run_dir)
    kind = kind_of(summary)
    histories = {stage: history for stage in JOURNEY if (history := log_history(run_dir / stage))}
    parts = [f"# The run {run_dir.name}", _trained(run_dir, summary, histories)]
    parts += _last_samples(run_dir, histories, kind)
    if rates:
        _add_to_cards(run_dir, rates, histories, kind)
        parts += _two_numbers(summary, rates, kind)
        parts += _all_measures(run_dir, rates, kind)
    parts += _next_commands(run_dir, histories, kind)
    parts += _stages(run_dir, histories, kind)
    parts.append(f"## Data\n\n```\n{format_summary(summary)}\n```")
    write_text(run_dir / "report.md", visible("\n\n".join(parts)) + "\n")
    return run_dir / "report.md"


# -------------------------------------------------------------------------------- what was trained


def _trained(run_dir: Path, summary: dict[str, Any], histories: Histories) -> str:
    lines = [_describe_data(summary)]
    if model := _describe_model(run_dir, histories):
        lines.append(f"- **Model**: {model}")
    for stage in histories:
        info = JOURNEY[stage].told_of(kind_of(summary, stage))
        steps, seconds = _effort(run_dir, stage, histories)
        time = f" in {duration(seconds)}" if seconds else ""
        lesson = info.heading.partition(": ")[2]
        lines.append(f"- **{info.name.capitalize()}**: {steps:,} steps{time}. {_sentence(lesson)}")
    return "\n".join(lines)


def _describe_data(summary: dict[str, Any]) -> str:
    texts = kind_of(summary).texts
    names = [summary["made_from"].get(key) for key in SOURCE_KEYS]
    sources = " and ".join(_escape(str(name)) for name in names if name)
    one_split = summary["made_from"].get("corpus") and len(list(filter(None, names))) == 1
    source = f"the corpus {sources}" if one_split else sources
    uses = {"pretrain": "for pretraining", "sft": "for fine-tuning", "dpo": "for alignment"}
    counts = [
        f"{summary['parts'][stage]:,} {use}"
        for stage, use in uses.items()
        if stage not in summary.get("left_out", {})
    ]
    counts[0] = counts[0].replace(" for ", " are for ", 1)
    listed = ", ".join(counts[:-1]) + " and " + counts[-1] if counts[1:] else counts[0]
    return f"- **{texts.capitalize()}**: {summary['kept']:,} of {source}. {listed}."


def _describe_model(run_dir: Path, histories: Histories) -> str:
    """Describes the last model of a run; an empty text if its files are not there."""
    folder = _last_model(run_dir, histories)
    if folder is None or not (folder / "config.json").is_file():
        return ""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    layers = config["n_layer"]
    text = f"a GPT-2 with {layers} {'layer' if layers == 1 else 'layers'}"
    weights = folder / "model.safetensors"
    if weights.is_file():
        with safe_open(weights, framework="pt") as tensors:
            names = tensors.keys()
            shapes = [tensors.get_slice(name).get_shape() for name in names]
        text += f" and {sum(map(math.prod, shapes)) / 1e6:.1f} million parameters"
    return f"{text}. It reads up to {config['n_positions']} characters at a time."


def _effort(run_dir: Path, stage: str, histories: Histories) -> tuple[int, float]:
    """Returns the steps and the seconds of a stage. Earlier rounds are included."""
    seconds, steps = of_earlier_rounds(run_dir / stage)
    history = histories[stage]
    return steps + history[-1]["step"], seconds + seconds_trained(history)


def _last_model(run_dir: Path, histories: Histories) -> Path | None:
    return run_dir / list(histories)[-1] if histories else None


# ----------------------------------------------------------------------------------------- samples


def _last_samples(run_dir: Path, histories: Histories, kind: Kind) -> list[str]:
    """Shows the first sample of pretraining and the last sample of each stage."""
    columns: list[tuple[str, str]] = []
    prompt = ""
    for stage in histories:
        if records := _records(run_dir / stage):
            prompt = records[-1]["prompt"]
            chosen = [records[0], records[-1]] if not columns else [records[-1]]
            columns += [
                (f"{JOURNEY[stage].name}, step {record['step']:,}", record["text"])
                for record in chosen
            ]
    if not columns:
        return []
    gloss = f" ({_GLOSSES[prompt]})" if prompt in _GLOSSES else ""
    one = kind.prompts[:-1]
    heading = f"## One {one}, stage by stage: {_in_one_row(prompt)}{gloss}"
    parts = [heading, _samples_table(columns)]
    return [*parts, _HOW_TO_LOOK] if kind.verse else parts


def _samples_table(columns: list[tuple[str, str]], **more: list[str]) -> str:
    """Returns a table of texts. `more` adds further lines: their label and their texts."""
    lines = ["| | " + " | ".join(name for name, _ in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    texts = {"the model": [text for _, text in columns]} | more
    for label, row in texts.items():
        lines.append(f"| {label} | " + " | ".join(map(_escape, row)) + " |")
    return "\n".join(lines)


def _records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "samples.jsonl"
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---------------------------------------------------------------------------------------- measures


def _two_numbers(summary: dict[str, Any], rates: dict[str, Row], kind: Kind) -> list[str]:
    """Shows the share of well-formed poems and of the poems that alignment prefers."""
    aligned = [stage for stage in ALIGNED if stage in rates]
    if not aligned or "sft" not in rates or not kind.verse or "poets" not in rates:
        return []
    before, after = rates["sft"], rates[aligned[-1]]
    # Rewards and distillation teach the rules of regulated verse. They read no pairs.
    preference = summary.get("preference", summary["made_from"]["preference"])
    if aligned[-1] != "dpo":
        preference = "regulated"
    measures = {"well_formed": "well-formed poems"}
    if key := _PREFERRED_MEASURES.get(preference):
        measures[key] = f"{preference} poems, which alignment prefers"
    rows = {"before alignment": before, "after alignment": after, POETS: rates["poets"]}
    lines = [f"| higher is better | {' | '.join(rows)} |", "|---" * (len(rows) + 1) + "|"]
    for key, label in measures.items():
        values = [_percent(getattr(row, key)) for row in rows.values()]
        lines.append(f"| {label} | {' | '.join(values)} |")
    parts = ["## The numbers that matter", "\n".join(lines)]
    if before.poem_loss is None or after.poem_loss is None:
        return parts
    sentences = [
        "The losses are on held-out poems, in nats per character, and lower is better.",
        _change("poems", before.poem_loss, after.poem_loss),
    ]
    of_five, of_five_after = before.poem_loss_five_character, after.poem_loss_five_character
    if preference == "five-character" and of_five is not None and of_five_after is not None:
        sentences.append(_change("five-character poems", of_five, of_five_after))
    if after.poem_loss.value > before.poem_loss.value:
        sentences.append(_RISING_LOSS)
    return [*parts, " ".join(sentences)]


def _change(poems: str, before: Estimate, after: Estimate) -> str:
    return f"Alignment changed the loss of {poems} from {before.value:.2f} to {after.value:.2f}."


def _percent(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{100 * estimate.value:.0f} %"


def _all_measures(run_dir: Path, rates: dict[str, Row], kind: Kind) -> list[str]:
    names = {"poets": poets_name(kind)}
    if rates.keys() & set(ALIGNED):
        names |= {"sft": "before (sft)"} | {stage: f"after ({stage})" for stage in ALIGNED}
    rows = {names.get(name, name): row for name, row in rates.items()}
    parts = ["## All measures", table(rows, kind), _explain_measures(rates, kind)]
    if not _has_rates(rates):
        return parts
    figures.draw_rates({name: row.to_json() for name, row in rows.items()}, run_dir / "verse.png")
    return [*parts, f"![rates of the {kind.texts}](verse.png)"]


def _has_rates(rates: dict[str, Row]) -> bool:
    return any(row.poems or row.forms is not None for row in rates.values())


def _explain_measures(rates: dict[str, Row], kind: Kind) -> str:
    sentences = [_LOSSES, *([_RATES] if _has_rates(rates) else []), _INTERVALS]
    return " ".join(sentences).format(texts=kind.texts)


def _add_to_cards(run_dir: Path, rates: dict[str, Row], histories: Histories, kind: Kind) -> None:
    for stage in rates.keys() & histories.keys():
        columns = {"this model": rates[stage]}
        if "poets" in rates:
            columns[poets_name(kind)] = rates["poets"]
        text = f"{table(columns, kind)}\n\n{_explain_measures(rates, kind)}"
        add_evaluation(run_dir / stage, text, "Verse" if kind.verse else "Evaluation")


# ------------------------------------------------------------------------------------ commands


def _next_commands(run_dir: Path, histories: Histories, kind: Kind) -> list[str]:
    folder = _last_model(run_dir, histories)
    if folder is None:
        return []
    title = " ".join(sample_title(run_dir).split())
    model = shlex.quote(str(folder))
    commands = []
    if list(histories) != ["pretrain"]:
        commands = [
            f"# {kind.texts} for a {kind.prompts[:-1]}",
            f".venv/bin/poet write {shlex.quote(title)} -n 2 --model {model}",
        ]
    if commands and kind.verse and kind.shape == POEMS:
        commands += [
            "# a title of your own, and a form: 秋夜 is an autumn night, and",
            "# 五言絕句 is a poem of four lines of five characters that rhyme",
            f".venv/bin/poet write 秋夜 --form 五言絕句 --model {model}",
        ]
    stages = " ".join(shlex.quote(str(run_dir / stage)) for stage in histories)
    commands += ["# the measures of all stages", f".venv/bin/poet evaluate {stages}"]
    return ["## Try next", "\n".join(["```", *commands, "```"])]


# ------------------------------------------------------------------------------------ every stage


def _stages(run_dir: Path, histories: Histories, kind: Kind) -> list[str]:
    if not histories:
        return []
    figures.draw_stages(histories, run_dir / "report.png")
    lines = [f"| stage | steps | time | on held-out {kind.texts} |", "|---|---|---|---|"]
    for stage, history in histories.items():
        steps, seconds = _effort(run_dir, stage, histories)
        time = duration(seconds) if seconds else ""
        results = ", ".join(
            f"{name} {value:.3f}" for name, value in measured(stage, history).items()
        )
        lines.append(f"| {JOURNEY[stage].name} | {steps:,} | {time} | {results} |")
    parts = ["## The stages", "\n".join(lines), _TIME]
    parts.append("![losses of the stages side by side](report.png)")
    for stage in histories:
        parts.append(f"## {JOURNEY[stage].name.capitalize()}")
        if records := _records(run_dir / stage):
            parts.append(_first_middle_last(records))
        parts.append(f"![curves]({stage}/curves.png)")
    return parts


def _first_middle_last(records: list[dict[str, Any]]) -> str:
    """Shows three samples per stage. In alignment, the model before it has a line too."""
    records = [records[i] for i in sorted({0, len(records) // 2, len(records) - 1})]
    columns = [
        (f"step {record['step']:,}, loss {record['eval_loss']:.3f}", record["text"])
        for record in records
    ]
    references = [record["reference"] for record in records if "reference" in record]
    more = {"before alignment": references} if references else {}
    return f"Prompt: {_in_one_row(records[0]['prompt'])}\n\n{_samples_table(columns, **more)}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _in_one_row(prompt: str) -> str:
    return _escape(shorten(prompt, _PROMPT_LENGTH))


def _escape(text: str) -> str:
    """Makes any text of a model plain text in a cell of a Markdown table."""
    text = re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text.strip())
    return "<br>".join(text.splitlines())
