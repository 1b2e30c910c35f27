"""Options, headings and recorded numbers, for the script of each chapter."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that `poet` and the training scripts are found

# Options of a trainer that runs on processors, and neither reports, saves nor draws a progress bar.
QUIET = {
    "bf16": False,
    "disable_tqdm": True,
    "report_to": "none",
    "save_strategy": "no",
    "use_cpu": True,
}

_numbers: dict[str, float] = {}


def options(description: str | None, **defaults: int) -> argparse.Namespace:
    """Returns the options of a chapter's script.

    Every script has `run` (a folder that `make run` leaves), `seed` and `record` (a file for the
    numbers). `defaults` adds whole numbers that a reader may change, such as `steps=300`.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/sample"), help="folder of a run")
    parser.add_argument("--seed", type=int, default=42, help="random seed; default: %(default)s")
    parser.add_argument("--record", type=Path, help="write the numbers into this JSON file")
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    chosen = parser.parse_args()
    if not (chosen.run / "data" / "summary.json").is_file():
        parser.error(f"there is no run in {chosen.run}. Type `make run` first, or pass --run.")
    return chosen


def token_ids(run: Path) -> tuple:
    """Returns the tokenizer of a run, and the ids of its poems for pretraining: train, held out."""
    import torch

    from poet.data import blocks
    from poet.data.run_data import load_stage, make_tokenizer

    rows, tokenizer = load_stage(run, "pretrain"), make_tokenizer(run, 128)
    halves = (blocks.encode_rows(rows[half], tokenizer) for half in ("train", "test"))
    return (tokenizer, *map(torch.tensor, halves))  # the tensors have the shape (tokens,)


def write_data(script: str, **values: Any) -> None:
    """Writes the data of a chapter's figure as a script that sets constants.

    A page that was opened from the disk may load a script, but no other file.

    Args:
        script: The file of the chapter, such as ch03_learning.py.
    """
    lines = [f"// python book/code/{Path(script).name} --figure 1"]
    for name, value in values.items():
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        lines.append(f"const {name} = {text};")
    file = ROOT / "book" / "figures" / f"{Path(script).name[2:4]}-data.js"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def part(name: str) -> None:
    """Prints the heading of a part of the output. The book shows parts by name."""
    print(f"\n== {name}\n", flush=True)


def keep(**numbers: float) -> None:
    """Keeps numbers that the book's prose uses."""
    _numbers.update({name: float(number) for name, number in numbers.items()})


def end(chosen: argparse.Namespace) -> None:
    """Writes the numbers, if a file was named."""
    if chosen.record:
        chosen.record.write_text(json.dumps(_numbers, indent=1) + "\n", encoding="utf-8")
