"""Measures the recipe `tang-gpu` on one NVIDIA GPU.

    python benchmarks/gpu.py --corpus ../chinese-poetry --output_dir runs/tang-gpu

This script has not yet run to its end. It has no results in the repository.

It launches the stages one after the other with `accelerate launch --config_file
configs/accelerate/gpu_1.yaml`. The seconds of a stage include its compilation. The speed of the
card is that of a product of two 8,192 x 8,192 matrices. The results are results/gpu.json and
results/gpu.md.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import table
import textbook
from bench import TARGET_LOSS, Row, shapes_of, step_flops
from commands import ROOT, Log, read_log, read_pretraining, titles_to_write
from table import row

LAUNCH = ("accelerate.commands.launch", "--config_file", "configs/accelerate/gpu_1.yaml")
# A shorter schedule of the recipe. Compilation would take longer than this training.
SHORT_SCHEDULE = (
    "--max_steps 450 --torch_compile false --eval_strategy no --save_strategy no".split()
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corpus", default="tang", help="a local copy of the Tang corpus (%(default)s)"
    )
    parser.add_argument(
        "--output_dir", default="runs/tang-gpu", help="the run's folder (%(default)s)"
    )
    options = parser.parse_args()
    run = Path(options.output_dir).resolve()
    short_run = run.with_name(f"{run.name}-short")
    check(run, short_run)
    machine = describe_gpu()
    corpus = options.corpus
    if Path(corpus).exists():
        corpus = str(Path(corpus).resolve())
    data = ("--corpus", corpus, "--stages", "data", "--output_dir", str(run))
    call("run.py", "--recipe", "tang-gpu", *data)
    result: dict[str, Any] = {"machine": machine, "commit": table.commit_here(), "rows": []}
    for new in measure(run, short_run, machine):
        result["rows"].append(new)
        table.save(result, "gpu", heading(result))
    print((table.RESULTS / "gpu.md").read_text(encoding="utf-8"))


def check(*folders: Path) -> None:
    """Refuses a machine without an NVIDIA GPU, and folders that already exist."""
    import torch

    from poet.errors import UserError

    if not torch.cuda.is_available():
        raise UserError(
            "torch finds no NVIDIA GPU. On a computer without one, run benchmarks/bench.py."
        )
    for folder in folders:
        if folder.exists():
            raise UserError(
                f"{folder} already exists. A finished stage cannot be timed again: "
                "pass another --output_dir."
            )


def describe_gpu() -> dict[str, Any]:
    """Returns the name of the card, the version of torch, and the GFLOP/s of matrix products."""
    import torch

    from poet.speed.hardware import matmul_gflops

    machine = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "matmul_float32_gflops": round(matmul_gflops(torch.float32)),
        "matmul_bf16_gflops": round(matmul_gflops(torch.bfloat16)),
    }
    print(machine, flush=True)
    return machine


def heading(result: dict[str, Any]) -> str:
    """Returns the text above the table."""
    machine = result["machine"]
    float32, bf16 = machine["matmul_float32_gflops"], machine["matmul_bf16_gflops"]
    return (
        "# Results of `python benchmarks/gpu.py`\n\n"
        f"Machine: {machine['gpu']}, torch {machine['torch']}. Commit: {result['commit']}.\n"
        f"Products of 8,192 x 8,192 matrices: {float32 / 1e3:.0f} TFLOP/s in float32 and "
        f"{bf16 / 1e3:.0f} in bfloat16\n({bf16 / float32:.1f} times as fast).\n\n"
    )


def measure(run: Path, short_run: Path, machine: dict[str, Any]) -> Iterator[Row]:
    """Yields all rows, one by one."""
    yield textbook_row()
    pretraining = yield from pretraining_rows(run, machine["matmul_bf16_gflops"])
    for stage in ("sft", "dpo"):
        command = command_of(stage)
        log, seconds = train(stage, run / stage)
        yield seconds_row(stage, seconds, log)
        share = log.tokens_per_second / pretraining
        against = "pretraining's tokens per second"
        yield row(f"{stage}_useful_tokens", share, "of 1", against, "tang-gpu", command)
    yield from time_to_target_row(run, short_run)
    yield writing_row(run / "dpo", titles_to_write(run))


def textbook_row(steps: int = 200) -> Row:
    """Times the textbook loop on the card. The program does not wait for each step to end."""
    import torch

    torch.set_default_device("cuda")
    textbook.step_seconds(20)
    torch.cuda.synchronize()
    start = time.perf_counter()
    textbook.step_seconds(steps)
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / steps * textbook.STEPS
    torch.set_default_device(None)
    setting = f"{textbook.STEPS:,} steps, width 64, 4 layers, 16 x 256"
    return row("textbook_seconds", seconds, "s", "nothing", setting, "textbook.py")


def pretraining_rows(run: Path, gflops: float) -> Iterator[Row]:
    """Yields the rows of pretraining, and returns its tokens per second."""
    from poet.data.run_data import characters
    from poet_tokenizer import build_tokenizer

    settings = read_pretraining("tang-gpu")
    shapes, context = shapes_of(settings), settings["n_positions"]
    command = command_of("pretrain")
    log, seconds = train("pretrain", run / "pretrain")
    yield seconds_row("pretrain", seconds, log)
    speed = settings["per_device_train_batch_size"] * context / log.step_seconds
    yield row("pretrain_tokens", speed, "tokens per second", "nothing", shapes, command)
    flops = step_flops(settings, len(build_tokenizer(characters(run), context)))
    share = flops / log.step_seconds / 1e9 / gflops
    against = "the card's bfloat16 matrix product"
    yield row("matmul_share", share, "of 1", against, shapes, command)
    return speed


def seconds_row(stage: str, seconds: float, log: Log) -> Row:
    setting = f"{log.steps} steps, evaluation loss {log.eval_loss:.3f}"
    return row(f"{stage}_seconds", seconds, "s", "nothing", setting, command_of(stage))


def time_to_target_row(run: Path, short_run: Path) -> Iterator[Row]:
    """Yields the time to the target loss, or nothing if the short schedule misses it."""
    short_run.mkdir(parents=True)
    (short_run / "data").symlink_to(run / "data")
    log, seconds = train("pretrain", short_run / "pretrain", *SHORT_SCHEDULE)
    setting = f"{log.steps} steps, start included, evaluation loss {log.eval_loss:.3f}"
    if log.eval_loss > TARGET_LOSS:
        print(f"the loss of {TARGET_LOSS} is not reached: {setting}")
        return
    command = f"{command_of('pretrain')} {' '.join(SHORT_SCHEDULE)}"
    yield row(f"time_to_{TARGET_LOSS}", seconds, "s", "nothing", setting, command)


def writing_row(checkpoint: Path, titles: list[str]) -> Row:
    from poet.generation.load import load
    from poet.generation.write import write_ids

    model, tokenizer = load(checkpoint)
    model.to("cuda")
    seconds = []
    for seed in range(3):
        start = time.perf_counter()
        write_ids(model, tokenizer, titles, seed=seed)
        seconds.append(time.perf_counter() - start)
    value = min(seconds[1:])  # the first warms up
    command = "poet.generation.write.write_ids"
    return row("write_256", value, "s", "nothing", "256 poems in one batch", command)


def train(stage: str, output: Path, *options: str) -> tuple[Log, float]:
    """Launches one stage. Returns the figures of its log and the seconds of its command."""
    start = time.perf_counter()
    call(
        "-m", *LAUNCH, f"train_{stage}.py",
        "--config", config_of(stage), "--output_dir", str(output), *options,
    )  # fmt: skip
    return read_log(output), time.perf_counter() - start


def command_of(stage: str) -> str:
    return f"accelerate launch train_{stage}.py --config {config_of(stage)}"


def config_of(stage: str) -> str:
    """Returns the file of a stage. The recipe `tang-gpu` has one for pretraining only."""
    return f"configs/{'tang-gpu' if stage == 'pretrain' else 'tang'}/{stage}.yaml"


def call(*command: str) -> None:
    """Runs a command of this project, and ends with its output if it fails."""
    process = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        output = process.stdout + process.stderr
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}:\n{output}")


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
