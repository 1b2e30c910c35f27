"""Finds the model size that reaches the lowest loss in a number of minutes, and draws a figure.

    python benchmarks/shapes.py [--corpus PATH]

The result is the table `shapes` in configs/tang/pretrain.yaml. Each trial runs
`train_pretrain.py --config configs/tang/pretrain.yaml` with `--minutes M`, or with
`--max_steps 60` where only the speed is measured. A loss is the mean over the whole evaluation
part, with one seed. Trials that results/shapes.json already holds are not run again.
"""

import argparse
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

import table
from commands import Commands, read_pretraining

BATCH_OF_4 = "--n_layer 2 --n_embd 192 --per_device_train_batch_size 4"
# Minutes: the options that are tried.
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
    "--n_embd 128",
    "--n_embd 256",
    "--n_embd 512",
    "--n_positions 128 --per_device_train_batch_size 16",
    "--n_positions 512 --per_device_train_batch_size 4",
)
RESULTS = table.RESULTS / "shapes.json"
# Losses by steps of `run.py --recipe tutorial` at commit 9497651, and the seconds that a step of
# benchmarks/textbook.py took next to these trials.
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
    trials = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    finished = {(trial["minutes"], trial["options"]) for trial in trials}
    planned = [(minutes, shape) for minutes, shapes in TRIALS.items() for shape in shapes]
    planned += [(None, shape) for shape in SPEEDS]
    left = [key for key in planned if key not in finished]
    if left:
        machine = table.describe_cpu()
        with tempfile.TemporaryDirectory() as folder:
            commands = Commands(Path(folder), options.corpus)
            commands.prepare_data()
            for minutes, shape in left:
                trials.append(run_trial(commands, machine, minutes, shape))
                RESULTS.write_text(json.dumps(trials, indent=1) + "\n", encoding="utf-8")
    draw(trials)


def run_trial(
    commands: Commands, machine: dict[str, Any], minutes: float | None, shape: str
) -> dict[str, Any]:
    """Pretrains with some options for some minutes, or for 60 steps, and returns the figures."""
    length = ["--max_steps", "60"] if minutes is None else ["--minutes", str(minutes)]
    log = commands.train("pretrain", "tang", *length, *shlex.split(shape)).log
    gflops = max(machine["matmul_float32_gflops"], machine["matmul_bf16_gflops"])
    return {
        "minutes": minutes,
        "options": shape,
        "eval_loss": round(log.eval_loss, 4),
        "steps": log.steps,
        "seconds_per_step": round(log.step_seconds, 4),
        "teraflop": minutes and round(gflops * 60 * minutes / 1e3),
        "machine": machine,
        "commit": table.commit_here(),
    }


def draw(trials: list[dict[str, Any]]) -> None:
    """Draws results/shapes.png: the loss by minutes, and the speed by width and by context."""
    from matplotlib.figure import Figure

    timed = [trial for trial in trials if trial["minutes"]]
    speeds = [trial for trial in trials if not trial["minutes"]]
    if speeds:
        figure = Figure(figsize=(13, 4.4), layout="constrained")
        loss, width, context = figure.subplots(1, 3, width_ratios=(2, 1, 1))
        draw_speeds(width, context, speeds)
        all_axes = [loss, width, context]
    else:
        figure = Figure(figsize=(8, 4.4), layout="constrained")
        loss = figure.subplots()
        all_axes = [loss]
    draw_losses(loss, timed)
    figure.legend(
        *loss.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8
    )
    for axes in all_axes:
        axes.grid(alpha=0.3)
        axes.minorticks_off()
    figure.savefig(RESULTS.with_suffix(".png"), dpi=130)


def draw_losses(axes, trials: list[dict[str, Any]]) -> None:
    """Draws a point per trial, a line through the best of each budget, and the textbook's curve."""
    budgets = sorted({trial["minutes"] for trial in trials})
    best = [min(t["eval_loss"] for t in trials if t["minutes"] == budget) for budget in budgets]
    axes.plot(budgets, best, color="black", linewidth=1, label="lowest loss per budget")
    for shape in sorted({trial["options"] for trial in trials}):
        points = sorted((t["minutes"], t["eval_loss"]) for t in trials if t["options"] == shape)
        label = shape.replace("--", "")
        axes.plot(*zip(*points, strict=True), marker="o", linestyle="none", label=label)
    minutes = [steps * TEXTBOOK_SECONDS / 60 for steps in TEXTBOOK_LOSSES]
    label = "recipe tutorial, at the speed of the textbook loop"
    axes.plot(minutes, list(TEXTBOOK_LOSSES.values()), marker=".", color="grey", label=label)
    axes.set(
        xscale="log",
        xlabel="minutes of training, compilation included",
        ylabel="evaluation loss, nats per character",
    )
    set_ticks(axes, [1, 2, 4, 8, 15, 30, 60])


def draw_speeds(width_axes, context_axes, trials: list[dict[str, Any]]) -> None:
    """Draws tokens per second by the width of the model and by the length of its context."""
    settings = read_pretraining("tang")
    tokens = settings["per_device_train_batch_size"] * settings["n_positions"]
    rates = {trial["options"]: tokens / trial["seconds_per_step"] for trial in trials}

    def points(option: str) -> list[tuple[int, float]]:
        chosen = {name: rate for name, rate in rates.items() if name.startswith(f"--{option} ")}
        return [(int(name.split()[1]), rate) for name, rate in chosen.items()]

    recipe_rate = rates[f"--n_embd {settings['n_embd']}"]
    by_width = points("n_embd")
    by_context = [*points("n_positions"), (settings["n_positions"], recipe_rate)]
    for axes, label, values in (
        (width_axes, "width, 3 layers", sorted(by_width)),
        (context_axes, "context", sorted(by_context)),
    ):
        axes.plot(*zip(*values, strict=True), marker="o")
        xlabel = f"{label}, {tokens:,} tokens per step"
        axes.set(xscale="log", xlabel=xlabel, ylabel="tokens per second")
        set_ticks(axes, [x for x, _ in values])
        axes.set_ylim(0, 1.1 * max(rate for _, rate in values))


def set_ticks(axes, values: list[int]) -> None:
    axes.set_xticks(values, labels=map(str, values))


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
