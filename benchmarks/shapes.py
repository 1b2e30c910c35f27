"""Which shape of model pays in how many minutes: the table `shapes` of configs/tang/pretrain.yaml; how speed falls with size and
context; and a figure of both.

    python benchmarks/shapes.py [--corpus PATH]     # what results/shapes.json holds already is not trained again

Each trial is the command of a person, `train_pretrain.py --config configs/tang/pretrain.yaml` with `--minutes M`, or `--max_steps 60` where
only the speed is asked for, and options; losses are those of the whole evaluation part, one seed.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import bench  # beside this file

sys.path.insert(0, str(bench.ROOT))

BATCH_OF_4 = "--n_layer 2 --n_embd 192 --per_device_train_batch_size 4"
TRIALS = {
    1: (
        "--n_layer 1",
        "--n_layer 2",
        "--n_embd 192 --n_layer 2",
        "--n_embd 128 --n_layer 2",
        BATCH_OF_4,
    ),
    4: ("--n_layer 2", "--n_embd 192 --n_layer 3", BATCH_OF_4),
    12: ("--n_layer 3",),
    60: ("--n_layer 4 --dropout 0.1",),
}
SPEEDS = (
    "--n_embd 128", "--n_embd 256", "--n_embd 512", "--n_positions 128 --per_device_train_batch_size 16",
    "--n_positions 512 --per_device_train_batch_size 4",
)  # fmt: skip
RESULTS = bench.RESULTS / "shapes.json"
# The textbook's settings through Trainer, `run.py --recipe tutorial` at commit 9497651: its losses by steps, drawn at the seconds that a step of
# benchmarks/textbook.py took beside these trials.
TEXTBOOK_SECONDS = 0.41
TEXTBOOK_LOSSES = {
    1000: 5.134, 2000: 4.719, 3000: 4.586, 4000: 4.521, 5000: 4.478,
    6000: 4.424, 7000: 4.411, 8000: 4.413, 9000: 4.398, 10000: 4.393,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corpus", default="tang", help="a local copy of the Tang corpus (%(default)s)"
    )
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    known = {(each["minutes"], each["options"]) for each in found}
    asked = [(minutes, shape) for minutes, shapes in TRIALS.items() for shape in shapes] + [
        (None, s) for s in SPEEDS
    ]
    left = [each for each in asked if each not in known]
    if left:
        with tempfile.TemporaryDirectory() as folder:
            runs = bench.Bench(Path(folder), options.corpus)
            list(runs.data())
            for minutes, shape in left:
                found.append(trial(runs, minutes, shape))
                RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found)


def trial(runs: bench.Bench, minutes: float | None, shape: str) -> dict:
    length = ["--max_steps", "60"] if minutes is None else ["--minutes", str(minutes)]
    run = runs.train("pretrain", "tang", *length, *shlex.split(shape))
    rate = max(runs.machine["matmul_float32_gflops"], runs.machine["matmul_bf16_gflops"])
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=bench.ROOT, capture_output=True, text=True
    )
    return {
        "minutes": minutes, "options": shape, "eval_loss": round(run["eval_loss"], 4), "steps": run["steps"],
        "seconds_a_step": round(run["step"], 4), "teraflop": minutes and round(rate * 60 * minutes / 1e3),
        "machine": runs.machine, "commit": commit.stdout.strip(),
    }  # fmt: skip


def draw(found: list[dict]) -> None:
    """results/shapes.png: loss against minutes, a line a shape, beside the textbook's settings; tokens a second against size and context."""
    from matplotlib.figure import Figure

    timed, speeds = (
        [each for each in found if each["minutes"]],
        [each for each in found if not each["minutes"]],
    )
    figure = Figure(figsize=(13, 4.4) if speeds else (8, 4.4), layout="constrained")
    loss, *others = figure.subplots(
        1, 3 if speeds else 1, squeeze=False, width_ratios=(2, 1, 1) if speeds else None
    )[0]
    best = {}
    for each in sorted(timed, key=lambda each: -each["eval_loss"]):
        best[each["minutes"]] = each["eval_loss"]
    loss.plot(
        *zip(*sorted(best.items()), strict=True),
        color="black",
        linewidth=1,
        label="the best of each",
    )
    for shape in sorted({each["options"] for each in timed}):
        points = sorted(
            (each["minutes"], each["eval_loss"]) for each in timed if each["options"] == shape
        )
        loss.plot(
            *zip(*points, strict=True), marker="o", linestyle="none", label=shape.replace("--", "")
        )
    points = [(steps * TEXTBOOK_SECONDS / 60, value) for steps, value in TEXTBOOK_LOSSES.items()]
    loss.plot(
        *zip(*points, strict=True),
        marker=".",
        color="grey",
        label="recipe tutorial, at the textbook loop's speed",
    )
    loss.set(
        xscale="log",
        xlabel="minutes of training, compilation included",
        ylabel="evaluation loss, nats a character",
    )
    loss.set_xticks(ticks := [1, 2, 4, 8, 15, 30, 60], labels=map(str, ticks))
    figure.legend(
        *loss.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8
    )
    tokens = bench.recipe("tang", "pretrain")
    a_step = tokens["per_device_train_batch_size"] * tokens["n_positions"]
    rates = {each["options"]: a_step / each["seconds_a_step"] for each in speeds}
    for axes, option, label in zip(
        others, ("n_embd", "n_positions"), ("width, 3 layers", "context")
    ):
        points = sorted(
            (int(name.split()[1]), rate)
            for name, rate in rates.items()
            if name.startswith(f"--{option}")
        )
        if option == "n_positions":  # the recipe itself stands among the widths
            points = sorted([*points, (tokens[option], rates[f"--n_embd {tokens['n_embd']}"])])
        axes.plot(*zip(*points, strict=True), marker="o")
        axes.set(
            xscale="log", xlabel=f"{label}, {a_step:,} tokens a step", ylabel="tokens a second"
        )
        axes.set_xticks(ticks := [x for x, _ in points], labels=map(str, ticks))
        axes.set_ylim(bottom=0)
    for axes in (loss, *others):
        axes.grid(alpha=0.3)
        axes.minorticks_off()
    figure.savefig(RESULTS.with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
