"""Chooses the numbers of a recipe from texts, for `run.py --recipe own`.

It copies configs/own/ and puts in the chosen numbers. The copy goes to the run's folder, so that it
can be read, changed and used again.

It knows the data of a run and the files of a recipe. It does not know models or training.
"""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import yaml

from poet.data.options import DataOptions
from poet.data.rows import Row, content
from poet.data.run_data import HALVES, STAGES, first_rows, load_summary, make_tokenizer
from poet.errors import UserError
from poet.files import make_folder, replacing_folder, write_text

_ROWS = 50_000  # rows that are measured; more would not change the result
_ANY_LENGTH = 10**6
_MULTIPLE = 32  # tokens; 32 numbers in bfloat16 fill one cache line of a processor (64 bytes)


@dataclass(frozen=True)
class Lengths:
    """The lengths of the rows in tokens. One character of the vocabulary is one token."""

    median: int
    most: int
    """The length that `rows_that_fit` of the rows do not exceed."""
    longest: int


def write_recipe(template: Path, run: Path, options: DataOptions) -> str:
    """Writes the folder `run`/recipe for the data in `run`, and returns what was found and chosen.

    Args:
        template: The recipe whose numbers are replaced.
        options: The options that made the data.
    """
    rules = yaml.safe_load((template / "choices.yaml").read_text(encoding="utf-8"))
    summary = load_summary(run)
    lengths = measure_rows(run, rules["rows_that_fit"])
    chosen = _choose(rules, summary, lengths)
    folder = run / "recipe"
    make_folder(folder)
    write_text(folder / "data.yaml", _data_yaml(options))
    for stage in STAGES:
        if stage not in summary["left_out"]:
            text = (template / f"{stage}.yaml").read_text(encoding="utf-8")
            numbers = {"output_dir": (str(run / stage), "")}
            write_text(
                folder / f"{stage}.yaml",
                _fill(text, numbers | (chosen if stage == "pretrain" else {})),
            )
    shown = [f"  {key:28} {value:<8} {reason}" for key, (value, reason) in chosen.items()]
    found = (
        f"Rows: half have at most {lengths.median:,} tokens, {rules['rows_that_fit']:.0%} have at "
        f"most {lengths.most:,}, the longest has {lengths.longest:,}."
    )
    return "\n".join([found, f"Chosen for these texts, and written to {folder}:", *shown])


def check_name(run: Path, configs: Path, name: str) -> None:
    """Checks a name for `save_recipe` before the data are made, which may take long.

    Raises:
        UserError: The name is no folder name, or another recipe has it already.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"{name} cannot be the name of a recipe. Use letters, digits, - and _.")
    if (configs / name).exists() and not (run / "recipe").exists():
        _refuse_name(configs / name)


def save_recipe(run: Path, configs: Path, name: str) -> Path:
    """Copies the recipe of a run to `configs`/NAME. A run of the copy goes to runs/NAME.

    An interrupted command that runs again finds its own copy there, and does not change it.

    Raises:
        UserError: Another recipe has this name.
    """
    target, texts = configs / name, {}
    for path in (run / "recipe").glob("*.yaml"):
        numbers = {"output_dir": (f"runs/{name}/{path.stem}", "")}
        texts[path.name] = _fill(path.read_text(encoding="utf-8"), numbers)
    if target.exists():
        if texts != {path.name: path.read_text(encoding="utf-8") for path in target.iterdir()}:
            _refuse_name(target)
        return target
    with replacing_folder(target) as partial:
        for file, text in texts.items():
            (partial / file).write_text(text, encoding="utf-8")
    return target


def _refuse_name(target: Path) -> NoReturn:
    raise UserError(f"{target} exists already. Choose another name for --save_recipe.")


def measure_rows(run: Path, share: float) -> Lengths:
    """Returns the lengths of the rows of fine-tuning and alignment.

    If there are no such rows, these are the lengths of the texts of pretraining.

    Args:
        share: The share of the rows that are no longer than `Lengths.most`.
    """
    tokenizer = make_tokenizer(run, n_positions=_ANY_LENGTH)
    vocabulary = tokenizer.get_vocab()

    def tokens(text: str) -> int:
        return sum(1 if c in vocabulary else len(c.encode()) for c in text)

    extra = len(tokenizer.apply_chat_template([{"role": "user", "content": ""}])["input_ids"]) + 1
    counts = []
    for stage in STAGES[1:]:
        for row in _sample(run, stage):
            prompt = sum(tokens(message["content"]) for message in row["prompt"]) + extra
            answers = (row[key] for key in ("completion", "chosen", "rejected") if key in row)
            counts += [prompt + tokens(content(answer)) for answer in answers]
    if not counts:
        counts = [tokens(row["text"]) for row in _sample(run, "pretrain")]
    counts.sort()
    most = counts[min(int(share * len(counts)), len(counts) - 1)]
    return Lengths(counts[len(counts) // 2], most, counts[-1])


def _sample(run: Path, stage: str) -> list[Row]:
    return [row for half in HALVES for row in first_rows(run, stage, half, _ROWS)]


def _choose(rules: dict, summary: dict[str, Any], lengths: Lengths) -> dict[str, tuple[Any, str]]:
    """Returns {key of pretrain.yaml: (value, reason)}."""
    limit = rules["max_positions"]
    wanted = -(-(lengths.most + 1) // _MULTIPLE) * _MULTIPLE
    positions = min(max(wanted, 2 * _MULTIPLE), limit)
    share = f"{rules['rows_that_fit']:.0%}"
    fits = f"{share} of the rows fit"
    if wanted > limit:
        fits = "the largest context on a CPU; longer rows are dropped "
        fits += f"({share} have at most {lengths.most:,} tokens)"
    characters = summary["pretrain_characters"]
    size = [row for row in rules["sizes"] if row["characters"] <= characters][-1]
    batch = max(1, rules["tokens_per_step"] // positions)
    steps = int(size["passes"] * characters / (batch * positions))
    steps = min(max(steps, rules["min_steps"]), size["max_steps"])
    passes = steps * batch * positions / characters
    model = f"for {characters:,} characters"
    return {
        "n_positions": (positions, fits),
        "n_embd": (size["n_embd"], model),
        "n_layer": (size["n_layer"], model),
        "n_head": (size["n_head"], model),
        "max_steps": (steps, f"{passes:.1f} passes over the text"),
        "per_device_train_batch_size": (batch, f"{batch * positions:,} tokens per step"),
    }


def _fill(text: str, numbers: dict[str, tuple[Any, str]]) -> str:
    """Replaces the values of a recipe's file, and the comments behind them."""
    for key, (value, reason) in numbers.items():
        line = f"{key}: {value}" + (f"  # {reason}" if reason else "")
        text = re.sub(rf"(?m)^{key}:.*$", line.replace("\\", r"\\"), text)
    return text


def _data_yaml(options: DataOptions) -> str:
    defaults = DataOptions(corpus="")
    lines = ["# The texts, and the rules by which some are dropped. All keys: docs/own_data.md."]
    for field in fields(options):
        value = getattr(options, field.name)
        if value != getattr(defaults, field.name):
            lines.append(yaml.safe_dump({field.name: value}, allow_unicode=True).strip())
    return "\n".join(lines) + "\n"
