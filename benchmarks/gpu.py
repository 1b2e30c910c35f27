"""What one NVIDIA GPU makes of the recipe `tang-gpu`: results/gpu.json and results/gpu.md.

    python benchmarks/gpu.py --corpus ../chinese-poetry --output_dir runs/tang-gpu

The stages are launched as a person would, `accelerate launch --config_file configs/accelerate/gpu_1.yaml train_*.py`, one after the
other, each with its compilation. The share of the card is against its own product of two 8,192 x 8,192 matrices, measured in the
same run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import textbook
from bench import (
    RESULTS,
    ROOT,
    commit_here,
    recipe,
    row,
    shapes_of,
    step_flops,
    table_lines,
    titles_to_write,
)

LAUNCH = ["accelerate.commands.launch", "--config_file", "configs/accelerate/gpu_1.yaml"]
# The recipe's shape with a shorter schedule; compiling would take longer than all of it.
TO_468 = (
    "--max_steps",
    "450",
    "--torch_compile",
    "false",
    "--eval_strategy",
    "no",
    "--save_strategy",
    "no",
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
    import torch

    from poet.errors import UserError
    from poet.speed.hardware import matmul_gflops

    if not torch.cuda.is_available():
        raise UserError(
            "there is no NVIDIA GPU that torch can use: benchmarks/bench.py measures a computer without one"
        )
    machine = {
        "gpu": torch.cuda.get_device_name(), "torch": torch.__version__,
        "matmul_float32_gflops": round(matmul_gflops(torch.float32)),
        "matmul_bf16_gflops": round(matmul_gflops(torch.bfloat16)),
    }  # fmt: skip
    print(machine, flush=True)
    run = Path(options.output_dir).resolve()
    short = run.with_name(f"{run.name}-short")
    for folder in (run, short):
        if folder.exists():
            raise UserError(
                f"{folder} is there, and what is trained already cannot be timed: pass another --output_dir"
            )
    corpus = (
        str(Path(options.corpus).resolve()) if Path(options.corpus).exists() else options.corpus
    )
    call(
        "run.py",
        "--recipe",
        "tang-gpu",
        "--corpus",
        corpus,
        "--stages",
        "data",
        "--output_dir",
        str(run),
    )
    result: dict[str, Any] = {"machine": machine, "commit": commit_here(), "rows": []}
    for each in rows(run, short, machine):
        result["rows"].append(each)
        (RESULTS / "gpu.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (RESULTS / "gpu.md").write_text(table(result), encoding="utf-8")
    print(table(result))


def rows(run: Path, short: Path, machine: dict[str, Any]) -> Iterator[dict]:
    settings = recipe("tang-gpu", "pretrain")
    tokens, shapes = (
        settings["per_device_train_batch_size"] * settings["n_positions"],
        shapes_of(settings),
    )
    yield textbook_row()
    for stage in ("pretrain", "sft", "dpo"):
        found = train(stage, run / stage)
        command = f"accelerate launch train_{stage}.py --config configs/tang-gpu/{stage}.yaml"
        what = f"{found['steps']} steps, evaluation loss {found['eval_loss']:.3f}"
        yield row(f"{stage}_seconds", found["wall"], "s", "nothing", what, command)
        if stage == "pretrain":
            from poet.data.run_data import characters
            from poet_tokenizer import build_tokenizer

            flops = step_flops(
                settings, len(build_tokenizer(characters(run), settings["n_positions"]))
            )
            speed = tokens / found["step"]
            yield row("pretrain_tokens", speed, "tokens a second", "nothing", shapes, command)
            share = flops / found["step"] / 1e9 / machine["matmul_bf16_gflops"]
            yield row(
                "matmul_share", share, "of 1", "the card's bfloat16 matrix product", shapes, command
            )
        else:
            value = found["tokens"] / speed
            yield row(
                f"{stage}_useful_tokens",
                value,
                "of 1",
                "pretraining's tokens a second",
                shapes,
                command,
            )
    found = train("pretrain", short / "pretrain", run / "data", *TO_468)
    what = f"{found['steps']} steps, start included, evaluation loss {found['eval_loss']:.3f}"
    if found["eval_loss"] > 4.68:
        print(f"4.68 is not reached: {what}")
    else:
        yield row(
            "time_to_4.68",
            found["wall"],
            "s",
            "nothing",
            what,
            f"train_pretrain.py … {' '.join(TO_468)}",
        )
    yield writing(run / "dpo", run)


def textbook_row(steps: int = 200) -> dict[str, Any]:
    import torch

    torch.set_default_device("cuda")
    textbook.step_seconds(20)
    torch.cuda.synchronize()
    start = time.perf_counter()
    textbook.step_seconds(steps)
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / steps * textbook.STEPS
    torch.set_default_device(None)
    return row(
        "textbook_seconds",
        seconds,
        "s",
        "nothing",
        "10,000 steps, width 64, 4 layers, 16 x 256",
        "textbook.py",
    )


def train(stage: str, output: Path, data: Path | None = None, *options: str) -> dict[str, Any]:
    """Launches a stage; seconds of all of it and of its median step, tokens a second, the last evaluation's loss."""
    from poet.training.checkpoints import log_history

    if data is not None:
        output.parent.mkdir(parents=True)
        (output.parent / "data").symlink_to(data)
    start = time.perf_counter()
    config = f"configs/tang-gpu/{stage}.yaml"
    call(
        "-m",
        *LAUNCH,
        f"train_{stage}.py",
        "--config",
        config,
        "--output_dir",
        str(output),
        *options,
    )
    wall = time.perf_counter() - start
    history = log_history(output)
    logs = [log for log in history if "seconds" in log and "loss" in log]
    pairs = list(zip(logs, logs[1:], strict=False))[len(logs) // 4 :]
    seconds = [b["seconds"] - a["seconds"] for a, b in pairs]
    speeds = [
        (b.get("num_tokens", 0) - a.get("num_tokens", 0)) / s
        for (a, b), s in zip(pairs, seconds, strict=True)
    ]
    steps = [s / (b["step"] - a["step"]) for (a, b), s in zip(pairs, seconds, strict=True)]
    loss = next(log["eval_loss"] for log in reversed(history) if "eval_loss" in log)
    return {
        "wall": wall, "step": statistics.median(steps), "tokens": statistics.median(speeds), "eval_loss": loss,
        "steps": history[-1]["step"],
    }  # fmt: skip


def writing(checkpoint: Path, run: Path) -> dict[str, Any]:
    from poet.generation import write
    from poet.generation.load import load

    model, tokenizer = load(checkpoint)
    model.to("cuda")
    titles = titles_to_write(run)
    seconds = []
    for seed in range(3):  # the first warms up
        start = time.perf_counter()
        write.write_ids(model, tokenizer, titles, seed=seed)
        seconds.append(time.perf_counter() - start)
    return row(
        "write_256",
        min(seconds[1:]),
        "s",
        "nothing",
        "256 poems in one batch",
        "poet.generation.write.write_ids",
    )


def call(*command: str) -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def table(result: dict[str, Any]) -> str:
    machine = result["machine"]
    head = (
        f"{machine['gpu']}, torch {machine['torch']}; products of 8,192 x 8,192 matrices: "
        f"{machine['matmul_float32_gflops'] / 1e3:.0f} TFLOP/s in float32, {machine['matmul_bf16_gflops'] / 1e3:.0f} in bfloat16 "
        f"({machine['matmul_bf16_gflops'] / machine['matmul_float32_gflops']:.1f} times as fast). Commit {result['commit']}."
    )
    return "\n".join([head, "", *table_lines(result["rows"])]) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from poet import errors

    errors.run(main)
