"""Reads the samples of a training with English translations, and writes the figure of chapter 6.

    python run.py --stages data --output_dir runs/figure
    python train_pretrain.py --config configs/sample/pretrain.yaml \\
        --output_dir runs/figure/pretrain --eval_steps 25
    python book/code/samples.py runs/figure    # writes book/figures/06-data.js

The figure shows the training of `make run` with more samples. More evaluations do not change the
training. A stage keeps its samples in samples.jsonl. The translations (glosses) are in
book/figures/06-glosses.json, one for each part of a line. A new run writes new poems. The command
names the parts that have no gloss.
"""

import argparse
import json
import re
from pathlib import Path

FIGURES = Path(__file__).resolve().parents[1] / "figures"
SHOWN = 6  # parts of a sample


def read(stage: Path) -> list[dict]:
    """Returns step and lines of each sample. A line is (text, gloss). The gloss may be empty."""
    glosses = json.loads((FIGURES / "06-glosses.json").read_text(encoding="utf-8"))
    found = []
    for row in (stage / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        sample = json.loads(row)
        text = sample["text"]
        parts = [part for part in re.sub("([，。])", r"\1\n", text).splitlines() if part]
        lines = [(part, glosses.get(part, "")) for part in parts[:SHOWN]]
        if len(parts) == 1:  # noise has no lines
            lines = [(text[start : start + 12], "no meaning") for start in range(0, 36, 12)]
        found.append({"step": sample["step"], "lines": lines})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a finished run, such as runs/sample")
    stage = parser.parse_args().run / "pretrain"
    if not (stage / "trainer_state.json").is_file():
        parser.error(f"there is no finished pretraining in {stage}. Type `make run` first.")
    state = json.loads((stage / "trainer_state.json").read_text(encoding="utf-8"))
    log = state["log_history"]
    data = {
        name: [(row["step"], row[name]) for row in log if name in row]
        for name in ("loss", "eval_loss")
    }
    data["samples"] = read(stage)
    for sample in data["samples"]:
        for line, gloss in sample["lines"]:
            if not gloss:
                print(f"no gloss at step {sample['step']}: {line}")
    text = f"const RUN = {json.dumps(data, ensure_ascii=False)};\n"
    (FIGURES / "06-data.js").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
