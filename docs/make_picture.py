"""Draws the picture of the README: one title, written at four moments of training.

    python docs/make_picture.py runs/tang

It reads samples.jsonl of the stages and writes docs/images/journey.svg. The English glosses are in
docs/images/glosses.json, one for each line. A new run writes new poems, which need new glosses.
The command then prints the poems and stops.
"""

import json
import sys
import textwrap
from html import escape
from pathlib import Path

from poet import errors
from poet.errors import UserError
from poet.files import write_text

DOCS = Path(__file__).resolve().parent
LINES = 4  # shown of each poem
MOMENTS = (
    ("pretrain", 0, "random weights"),
    ("pretrain", 1, "pretraining, {step} steps"),
    ("sft", -1, "fine-tuned on titles"),
    ("dpo", -1, "aligned to five characters"),
)
WIDTH, HEIGHT, PANEL = 1280, 330, 318


def main() -> None:
    if len(sys.argv) != 2:
        raise UserError("give the folder of a run: python docs/make_picture.py runs/tang")
    run = Path(sys.argv[1])
    glosses = json.loads((DOCS / "images" / "glosses.json").read_text(encoding="utf-8"))
    panels = [panel(run, *moment) for moment in MOMENTS]
    missing = [line for _, poem in panels[1:] for line in poem if line not in glosses]
    if missing:
        raise UserError(
            f"docs/images/glosses.json has no gloss for {' / '.join(missing)}. Add them."
        )
    write_text(DOCS / "images" / "journey.svg", draw(panels, glosses))


def panel(run: Path, stage: str, number: int, heading: str) -> tuple[str, list[str]]:
    """Returns the heading of a panel and the first lines of its poem."""
    path = run / stage / "samples.jsonl"
    if not path.is_file():
        raise UserError(f"there is no {path}. Train the run first: make tang")
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    sample = samples[number]
    if sample["step"] == 0 and stage == "pretrain":  # noise has no lines
        lines = textwrap.wrap(sample["text"], 8)
    else:
        lines = sample["text"].replace("，", "，\n").splitlines()
    return heading.format(step=sample["step"]), [line for line in lines if line][:LINES]


def draw(panels: list[tuple[str, list[str]]], glosses: dict[str, str]) -> str:
    """Returns the picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#faf7f0"/>',
    ]
    for column, (heading, poem) in enumerate(panels):
        x = column * PANEL + 20
        parts.append(
            f'<text x="{x}" y="38" font-size="15" font-weight="600" fill="#8a4b2a">'
            f"{column + 1}. {escape(heading)}</text>"
        )
        for row, line in enumerate(poem):
            y = 82 + 60 * row
            parts.append(
                f'<text x="{x}" y="{y}" font-size="22" fill="#222" '
                f"font-family=\"'Noto Serif CJK TC', 'Songti TC', serif\">{escape(line)}</text>"
            )
            parts.append(
                f'<text x="{x}" y="{y + 21}" font-size="12" fill="#666">'
                f"{escape(glosses.get(line, 'no meaning'))}</text>"
            )
        if column:
            parts.append(
                f'<path d="M{x - 20} 20 V{HEIGHT - 20}" stroke="#e0d8c8" stroke-width="1"/>'
            )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    errors.run(main)
