"""What this project's speed is, against a textbook's and against the machine's own: `make bench`, `make bench QUICK=1`.

Everything is measured in one run on one machine, through the commands that a person types; results/bench.json and
results/bench.md are made anew. A row that the quick form leaves out, or that a run did not come to, keeps its value and the commit that it is of.

Times of single steps are medians, since a machine that others use too is often slow and never fast.
"""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT))

import textbook  # noqa: E402, beside this file

# Of the recipe `tang`: a row of its table `shapes`, and the same number of steps for all seeds.
TO_468 = ("--max_steps", "850", "--n_layer", "2")
SEEDS = (0, 1, 2)
ROUNDS = 3  # of what is measured in turn; the quick form has one
TARGET = 4.68
START = 15  # seconds, of a command's start and end that --minutes does not count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three minutes: no whole trainings")
    parser.add_argument(
        "--corpus", default="tang", help="a local copy of the Tang corpus (%(default)s)"
    )
    options = parser.parse_args()
    commit = commit_here()
    RESULTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.corpus)
        known = (
            json.loads((RESULTS / "bench.json").read_text(encoding="utf-8"))
            if (RESULTS / "bench.json").is_file()
            else {}
        )
        old = {each["name"]: {"commit": known["commit"], **each} for each in known.get("rows", [])}
        result: dict[str, Any] = {
            "machine": bench.machine,
            "commit": commit,
            "rows": list(old.values()),
        }
        for each in bench.rows(options.quick):  # kept one by one: half an hour may be cut off
            old[each["name"]] = each
            result["rows"] = list(old.values())
            (RESULTS / "bench.json").write_text(
                json.dumps(result, indent=1) + "\n", encoding="utf-8"
            )
            (RESULTS / "bench.md").write_text(table(result), encoding="utf-8")
    print(table(result))


class Bench:
    """One run: the machine's own speed and the textbook's first, then everything against these."""

    def __init__(self, folder: Path, corpus: str):
        self.folder, self.corpus = folder, corpus
        self.peak = 0.0  # GB, the largest of all commands so far
        self.machine = describe_machine()

    def rows(self, quick: bool) -> Iterator[dict]:
        rounds = 1 if quick else ROUNDS
        yield from self.data()
        yield self.throughput()
        yield from self.stages(rounds)
        yield from self.writing(rounds)
        yield row(
            "peak_memory",
            self.peak,
            "GB",
            "nothing",
            "tang, all stages, of pretraining with a bare loop beside it",
            "train_*.py, resident memory",
        )
        if not quick:
            yield from self.whole_trainings()

    # ------------------------------------------------------------------------------------------------------- data

    def data(self) -> Iterator[dict]:
        from poet.data.blocks import encode_rows
        from poet.data.run_data import characters, load_stage
        from poet_tokenizer import build_tokenizer

        command = ["run.py", "--recipe", "tang", "--corpus", self.corpus, "--stages", "data"]
        for name, what in (
            ("data_cold", "Tang corpus to tokens of pretraining"),
            ("data_warm", "the sets to tokens again, in a process that has its imports"),
        ):
            start = time.perf_counter()
            if name == "data_cold":
                self.call(*command, "--output_dir", str(self.folder))
            tokenizer = build_tokenizer(characters(self.folder), 256)
            encode_rows(load_stage(self.folder, "pretrain")["train"], tokenizer)
            seconds = time.perf_counter() - start
            yield row(name, seconds, "s", "nothing", what, "run.py --recipe tang --stages data")
        self.vocabulary = len(tokenizer)

    # ------------------------------------------------------------------------------------------------- pretraining

    def throughput(self) -> dict[str, Any]:
        """The textbook loop before Trainer at its shape, and after it."""
        before = textbook.step_seconds(15)[5:]
        seed = self.train("pretrain", "tutorial", "--max_steps", "30")
        seconds = statistics.median(before + textbook.step_seconds(15)[5:])
        print(f"textbook loop: {seconds:.3f} s a step", flush=True)
        return row(
            "throughput_textbook_shape", seconds / seed["step"], "times", "the textbook loop",
            "width 64, 4 layers, 16 x 256", "train_pretrain.py --config configs/tutorial/pretrain.yaml",
        )  # fmt: skip

    def stages(self, rounds: int) -> Iterator[dict]:
        """All stages of `tang` in turn, so many times; of what is compared within a round the median over the rounds."""
        found = [self.round() for _ in range(rounds)]
        tang, sft, dpo = found[-1]
        yield row(
            "first_step",
            tang["first_step"],
            "s",
            "nothing",
            "tang, compilation cached",
            tang["command"],
        )
        settings = recipe("tang", "pretrain")
        tokens = settings["per_device_train_batch_size"] * settings["n_positions"]
        shapes = shapes_of(settings)
        flops = step_flops(settings, self.vocabulary)
        share = statistics.median(
            flops / each[0]["step"] / 1e9 / each[0]["product"] for each in found
        )
        against = "the machine's faster matrix product, before and after"
        yield row("matmul_share", share, "of 1", against, shapes, tang["command"])
        overhead = statistics.median(each[0]["ratio"] for each in found) - 1
        yield row(
            "trainer_overhead",
            overhead,
            "of 1",
            "a bare loop",
            f"{shapes}, ten steps in turn",
            tang["command"],
        )
        for number, stage in ((1, sft), (2, dpo)):
            values = [each[number]["tokens"] * each[0]["step"] / tokens for each in found]
            shapes = f"tang, {stage['tokens'] * stage['step']:,.0f} tokens a step; the median of {len(found)} in turn"
            name = f"{stage['stage']}_useful_tokens"
            yield row(
                name,
                statistics.median(values),
                "of 1",
                "pretraining's tokens a second",
                shapes,
                stage["command"],
            )

    def round(self) -> list[dict[str, Any]]:
        """Pretraining beside a bare loop and between matrix products, fine-tuning and alignment, each of what the one before has left."""
        found, before, product = [], None, fastest_product()
        for stage, *options in (
            ("pretrain", "--max_steps", "50"),
            # So many rows that a step has about as many tokens as one of pretraining; a pair has two sides.
            ("sft", "--max_steps", "30", "--per_device_train_batch_size", "27"),
            ("dpo", "--max_steps", "30", "--sampled_titles", "0"),
        ):
            if before:
                (self.folder / before).unlink(missing_ok=True)
                (self.folder / before).symlink_to(self.last)
            script = "benchmarks/overhead.py" if stage == "pretrain" else f"train_{stage}.py"
            found.append(self.train(stage, "tang", *options, script=script))
            if stage == "pretrain":
                found[0]["product"] = (product + fastest_product()) / 2
            before = stage
        self.checkpoint = self.last
        return found

    def whole_trainings(self) -> Iterator[dict]:
        """Three seeds to one loss, with steps of the textbook loop before and behind each, and as much as its 2,000 steps take."""
        runs, steps = [], textbook_says("step_seconds(15)")[5:]
        for seed in SEEDS:
            runs.append(self.train("pretrain", "tang", *TO_468, "--seed", str(seed)))
            steps += textbook_says("step_seconds(15)")[5:]
        a_step = statistics.median(steps)
        losses = [run["eval_loss"] for run in runs]
        margin = (TARGET - statistics.mean(losses)) * len(losses) ** 0.5 / statistics.stdev(losses)
        seconds = statistics.mean(run["seconds"] for run in runs)
        shapes = f"{TO_468[1]} steps, losses {', '.join(f'{loss:.4f}' for loss in losses)}: {margin:.1f} deviations"
        tutorial = a_step * textbook.STEPS
        yield row(
            "time_to_4.68",
            seconds / tutorial,
            "of 1",
            "the textbook loop's 10,000 steps",
            shapes,
            runs[0]["command"],
        )
        yield self.by_the_clock(2000 * a_step)

    def by_the_clock(self, budget: float) -> dict[str, Any]:
        """What pretraining reaches, start and compilation included, in so many seconds: those of 2,000 steps of the textbook loop."""
        run = self.train("pretrain", "tang", "--minutes", f"{(budget - START) / 60:.2f}")
        shapes = f"{run['steps']} steps, {run['seconds']:.0f} s against {budget:.0f} s"
        return row(
            "loss_after_2000_steps_time",
            run["eval_loss"],
            "nats",
            "nothing",
            shapes,
            run["command"],
        )

    # ----------------------------------------------------------------------------------------------------- writing

    def writing(self, rounds: int) -> Iterator[dict]:
        import torch
        from transformers import pipeline

        from poet.generation import write
        from poet.generation.load import load

        model, tokenizer = load(self.checkpoint)
        titles = titles_to_write(self.folder)
        poems = write.write_ids(
            model, tokenizer, titles, seed=0
        )  # warms up; compiled attention is loaded or made
        length = round(statistics.mean(map(len, poems)))
        ratios = []
        for _ in range(rounds):
            alone = textbook_says(f"writing_seconds({length})")
            start = time.perf_counter()
            write.write_ids(model, tokenizer, titles, seed=0)
            ratios.append(alone * len(titles) / (time.perf_counter() - start))
        shapes = (
            f"{len(titles)} poems of {length} tokens on average; of the textbook loop's the mean of {textbook.POEMS}; "
            f"the median of {rounds} in turn"
        )
        value = statistics.median(ratios)
        yield row(
            "write_256",
            value,
            "times",
            "the textbook loop",
            shapes,
            "poet.generation.write.write_ids",
        )
        plain = pipeline("text-generation", model=str(self.checkpoint))
        chat = [{"role": "user", "content": "春夜喜雨"}]
        prompt = len(tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"])
        ours, theirs = [], []
        for seed in range(6):  # side by side; the first of each warms up
            start = time.perf_counter()
            count = len(write.write_ids(model, tokenizer, ["春夜喜雨"], seed=seed)[0])
            ours.append((time.perf_counter() - start) / count)
            torch.manual_seed(seed)
            start = time.perf_counter()
            ids = plain(chat, return_tensors=True)[0]["generated_token_ids"]
            theirs.append((time.perf_counter() - start) / (len(ids) - prompt))
        value = statistics.median(theirs[1:]) / statistics.median(ours[1:])
        yield row(
            "write_one",
            value,
            "times",
            "plain pipeline",
            "one poem, seconds a token",
            "poet.generation.write.write_ids",
        )

    # ----------------------------------------------------------------------------------------------------- commands

    def train(
        self, stage: str, recipe_name: str, *options: str, script: str | None = None
    ) -> dict[str, Any]:
        """Runs the stage's command, or another script with its options; the seconds of its median step, of its start, and of all of it up to the last step."""
        from poet.training.checkpoints import log_history

        config = ["--config", f"configs/{recipe_name}/{stage}.yaml"]
        self.last = self.folder / f"run-{time.monotonic_ns()}" / stage
        self.last.parent.mkdir()
        for name in ("data", "pretrain", "sft"):
            if name != stage and (self.folder / name).exists():
                (self.last.parent / name).symlink_to(self.folder / name)
        quiet = [
            "--eval_strategy",
            "no",
            "--eval_on_start",
            "false",
            "--save_strategy",
            "no",
            "--logging_steps",
            "5",
        ]
        begun = time.perf_counter()
        script = script or f"train_{stage}.py"
        first_step = self.call(script, *config, *options, *quiet, "--output_dir", str(self.last))
        wall = time.perf_counter() - begun
        history = log_history(self.last)
        logs = [log for log in history if "seconds" in log and "loss" in log]
        pairs = list(zip(logs, logs[1:], strict=False))[len(logs) // 4 :]
        times = [(b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in pairs]
        evaluation = next(log for log in reversed(history) if "eval_loss" in log)
        step = statistics.median(times)
        ratio = None
        if (
            in_turn := self.last / "in_turn.json"
        ).is_file():  # of overhead.py; the log counts a bare loop's time too
            beside = json.loads(in_turn.read_text(encoding="utf-8"))
            step, ratio = beside["trainer"], beside["ratio"]
        tokens = (logs[-1].get("num_tokens", 0) - pairs[0][0].get("num_tokens", 0)) / (
            logs[-1]["seconds"] - pairs[0][0]["seconds"]
        )
        command = " ".join([script, *config, *options])
        seconds = wall - evaluation["eval_runtime"]
        print(
            f"{command}: {step:.3f} s a step, eval loss {evaluation['eval_loss']:.4f}, {seconds:.0f} s",
            flush=True,
        )
        return {
            "command": command, "stage": stage, "step": step, "seconds": seconds, "tokens": tokens,
            "eval_loss": evaluation["eval_loss"], "steps": logs[-1]["step"], "first_step": first_step, "ratio": ratio,
        }  # fmt: skip

    def call(self, *command: str) -> float | None:
        """Runs one of this project's commands; the seconds after which a progress bar stood at the first of its steps."""
        from poet.errors import UserError

        environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        begun, first_step = time.perf_counter(), None
        said = bytearray()
        with subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
        ) as process:
            while piece := process.stderr.read1():  # type: ignore[union-attr]
                said += piece
                if first_step is None and b"%|" in piece:
                    first_step = time.perf_counter() - begun
        if process.returncode == 2:  # a person's mistake, told in the last line
            raise UserError(said.decode().strip().splitlines()[-1].removeprefix("error: "))
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{said.decode()}")
        self.peak = max(self.peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6)
        return first_step


def row(
    name: str, value: float, unit: str, compared_with: str, shapes: str, command: str
) -> dict[str, Any]:
    print(f"{name}: {value:.3f} {unit}", flush=True)
    return {
        "name": name, "value": round(value, 4), "unit": unit, "compared_with": compared_with, "shapes": shapes,
        "command": command,
    }  # fmt: skip


def shapes_of(settings: dict[str, Any]) -> str:
    batch = f"{settings['per_device_train_batch_size']} x {settings['n_positions']}"
    return f"width {settings['n_embd']}, {settings['n_layer']} layers, {batch}"


def step_flops(settings: dict[str, Any], vocabulary: int) -> int:
    """Forward and backward of a step: 6 x the parameters in matrix products, and causal attention's two products."""
    width, layers, context = (settings[key] for key in ("n_embd", "n_layer", "n_positions"))
    tokens = settings["per_device_train_batch_size"] * context
    return tokens * (
        6 * (12 * layers * width**2 + width * vocabulary) + 6 * layers * width * context
    )


def titles_to_write(run: Path) -> list[str]:
    """256 held-out titles of a run's data, none of them long."""
    from poet.data.rows import content
    from poet.data.run_data import load_stage

    titles = [content(r["prompt"]) for r in load_stage(run, "sft")["test"]]
    return [title for title in titles if len(title) <= 40][:256]


def commit_here() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def recipe(name: str, stage: str) -> dict[str, Any]:
    import yaml

    return yaml.safe_load((ROOT / "configs" / name / f"{stage}.yaml").read_text(encoding="utf-8"))


def textbook_says(question: str) -> Any:
    """What a function of textbook.py returns in a process of its own: what writing in batches asks of the C library would make it slower."""
    command = [
        sys.executable,
        "-c",
        f"import json, textbook; print(json.dumps(textbook.{question}))",
    ]
    said = subprocess.run(
        command, cwd=ROOT / "benchmarks", capture_output=True, text=True, check=True
    )
    return json.loads(said.stdout)


def fastest_product() -> float:
    """Billions of operations a second in matrix products, in whichever of float32 and bfloat16 is the faster."""
    import torch

    from poet.speed.hardware import matmul_gflops

    return max(matmul_gflops(torch.float32), matmul_gflops(torch.bfloat16))


def describe_machine() -> dict[str, Any]:
    """Its name, its cores, and billions of operations a second in products of 2,048 x 2,048 matrices."""
    import torch

    from poet.speed.hardware import matmul_gflops

    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = {
        "cpu": found[1] if found else platform.processor(), "cores": cores,
        "matmul_float32_gflops": round(matmul_gflops(torch.float32)),
        "matmul_bf16_gflops": round(matmul_gflops(torch.bfloat16)),
    }  # fmt: skip
    print(machine, flush=True)
    return machine


def table(result: dict[str, Any]) -> str:
    machine = result["machine"]
    ratio = machine["matmul_bf16_gflops"] / machine["matmul_float32_gflops"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores; products of 2,048 x 2,048 matrices: "
        f"{machine['matmul_float32_gflops']} GFLOP/s in float32, {machine['matmul_bf16_gflops']} in bfloat16 "
        f"({ratio:.2f} times as fast). Commit {result['commit']}.",
        "",
    ]
    return "\n".join([*lines, *table_lines(result["rows"])]) + "\n"


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| what | value | against | shapes | command |", "|---|---|---|---|---|"]
    for each in rows:
        of = f" (commit {each['commit']})" if "commit" in each else ""
        value = f"{each['value']:.3f} {each['unit'].replace('of 1', '').strip()}".strip()
        lines.append(
            f"| `{each['name']}` | {value} | {each['compared_with']} | {each['shapes']}{of} | `{each['command']}` |"
        )
    return lines


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
