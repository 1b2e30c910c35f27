"""Compares the speed of this project with a textbook loop and with the machine's own speed.

    make bench
    make bench QUICK=1

It runs the commands that a user types, in one run on one machine. The results are in
results/bench.json and results/bench.md. With QUICK=1, whole trainings are left out. Their rows keep
the values and the commit of the last run. Step times are medians, so a few steps that other
programs slowed down do not count.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import table
import textbook
from commands import ROOT, Commands, TrainingRun, read_pretraining, titles_to_write
from table import row

Row = dict[str, Any]

# The model and the steps with which three seeds of `tang` should reach the target loss.
TO_TARGET = ("--max_steps", "810", "--n_layer", "2")
WHOLE = ("--sampled_vocabulary", "0")  # rows that compare steps score all characters
TARGET_LOSS = 4.68
SEEDS = (0, 1, 2)
ROUNDS = 3  # of the measurements that take turns; the quick form has one
START_SECONDS = 15  # start and end of a command, which --minutes does not count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three minutes, no whole trainings")
    parser.add_argument(
        "--corpus", default="tang", help="a local copy of the Tang corpus (%(default)s)"
    )
    parser.add_argument("--trainings", action="store_true", help="only the whole trainings")
    options = parser.parse_args()
    machine, commit = table.describe_cpu(), table.commit_here()
    rows = earlier_rows()
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder), options.corpus)
        if options.trainings:
            commands.prepare_data()
            measured = whole_training_rows(commands)
        else:
            measured = measure(commands, options.quick)
        for new in measured:
            rows[new["name"]] = new
            result = {"machine": machine, "commit": commit, "rows": list(rows.values())}
            table.save(result, "bench", heading(result))  # after each row, in case of a stop
    print((table.RESULTS / "bench.md").read_text(encoding="utf-8"))


def earlier_rows() -> dict[str, Row]:
    """Returns the rows of the last run by name, each with the commit it was measured at."""
    path = table.RESULTS / "bench.json"
    if not path.is_file():
        return {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    return {old["name"]: {"commit": earlier["commit"], **old} for old in earlier["rows"]}


def heading(result: dict[str, Any]) -> str:
    """Returns the text above the table."""
    machine = result["machine"]
    float32, bf16 = machine["matmul_float32_gflops"], machine["matmul_bf16_gflops"]
    return (
        "# Results of `make bench`\n\n"
        f"Machine: {machine['cpu']}, {machine['cores']} cores. Commit: {result['commit']}.\n"
        f"Products of 2,048 x 2,048 matrices: {float32} GFLOP/s in float32 and {bf16} in bfloat16\n"
        f"({bf16 / float32:.2f} times as fast). [README.md](../README.md) explains the rows.\n\n"
    )


def measure(commands: Commands, quick: bool) -> Iterator[Row]:
    """Yields all rows, one by one."""
    from poet.data.run_data import characters
    from poet_tokenizer import build_tokenizer

    rounds = 1 if quick else ROUNDS
    yield from data_rows(commands)
    yield textbook_shape_row(commands)
    runs = [train_all_stages(commands) for _ in range(rounds)]
    vocabulary = len(build_tokenizer(characters(commands.folder), 256))
    yield from pretraining_rows([run["pretrain"] for run in runs], vocabulary)
    yield useful_tokens_row("sft", runs)
    yield useful_tokens_row("dpo", runs)
    yield from writing_rows(runs[-1]["dpo"].folder, titles_to_write(commands.folder), rounds)
    yield row(
        "peak_memory", commands.peak_gigabytes, "GB", "nothing",
        "tang, all stages, with the bare loop alongside pretraining", "train_*.py",
    )  # fmt: skip
    if not quick:
        yield from whole_training_rows(commands)


# ---------------------------------------------------------------------------------------- data


def data_rows(commands: Commands) -> Iterator[Row]:
    from poet.data.blocks import encode_rows
    from poet.data.run_data import characters, load_stage
    from poet_tokenizer import build_tokenizer

    def tokenize() -> None:
        tokenizer = build_tokenizer(characters(commands.folder), 256)
        encode_rows(load_stage(commands.folder, "pretrain")["train"], tokenizer)

    start = time.perf_counter()
    commands.prepare_data()
    tokenize()
    cold = time.perf_counter() - start
    start = time.perf_counter()
    tokenize()
    warm = time.perf_counter() - start
    command = "run.py --recipe tang --stages data"
    yield row("data_cold", cold, "s", "nothing", "Tang corpus to pretraining tokens", command)
    setting = "data sets to pretraining tokens, after the imports"
    yield row("data_warm", warm, "s", "nothing", setting, command)


# -------------------------------------------------------------------------------- pretraining


def textbook_shape_row(commands: Commands) -> Row:
    """Compares Trainer with the textbook loop. The loop is timed before and after Trainer."""
    steps = textbook.step_seconds(15)[5:]
    run = commands.train("pretrain", "tutorial", "--max_steps", "30")
    steps += textbook.step_seconds(15)[5:]
    seconds = statistics.median(steps)
    print(f"textbook loop: {seconds:.3f} s per step", flush=True)
    return row(
        "throughput_textbook_shape", seconds / run.log.step_seconds, "times",
        "the textbook loop", "width 64, 4 layers, 16 x 256",
        "train_pretrain.py --config configs/tutorial/pretrain.yaml",
    )  # fmt: skip


def train_all_stages(commands: Commands) -> dict[str, Any]:
    """Trains a few steps of all stages, each from the one before.

    Returns:
        the run of each stage. The run of pretraining comes with the machine's speed of matrix
        products: the mean of two measurements, before and after the run.
    """
    before = fastest_product()
    pretrain = commands.train(
        "pretrain", "tang", "--max_steps", "50", *WHOLE, script="benchmarks/overhead.py"
    )
    product = (before + fastest_product()) / 2
    commands.start_from(pretrain, "pretrain")
    # 27 rows have about as many tokens as a step of pretraining. A pair has two sides.
    rows = ("--per_device_train_batch_size", "27")
    sft = commands.train("sft", "tang", "--max_steps", "30", *rows)
    commands.start_from(sft, "sft")
    dpo = commands.train("dpo", "tang", "--max_steps", "30", "--sampled_titles", "0")
    return {"pretrain": (pretrain, product), "sft": sft, "dpo": dpo}


def pretraining_rows(runs: list[tuple[TrainingRun, float]], vocabulary: int) -> Iterator[Row]:
    """Yields the rows of pretraining from its runs and the machine's speed during each."""
    last = runs[-1][0]
    settings = read_pretraining("tang")
    flops, shapes = step_flops(settings, vocabulary), shapes_of(settings)
    first_step = last.in_turn["first_step"]
    setting = "tang, compilation cached"
    yield row("first_step", first_step, "s", "nothing", setting, last.command)
    share = statistics.median(
        flops / run.in_turn["trainer"] / 1e9 / product for run, product in runs
    )
    against = "the machine's faster matrix product, before and after"
    yield row("matmul_share", share, "of 1", against, shapes, last.command)
    overhead = statistics.median(run.in_turn["ratio"] for run, _ in runs) - 1
    setting = f"{shapes}, ten steps in turn"
    yield row("trainer_overhead", overhead, "of 1", "a bare loop", setting, last.command)


def useful_tokens_row(stage: str, rounds: list[dict[str, Any]]) -> Row:
    """Compares the tokens per second of a stage with those of pretraining.

    Each round trains both. The row has the median of the rounds.
    """
    settings = read_pretraining("tang")
    tokens_per_step = settings["per_device_train_batch_size"] * settings["n_positions"]
    shares = []
    for runs in rounds:
        pretraining = tokens_per_step / runs["pretrain"][0].in_turn["trainer"]
        shares.append(runs[stage].log.tokens_per_second / pretraining)
    last = rounds[-1][stage]
    tokens = last.log.tokens_per_second * last.log.step_seconds
    setting = f"tang, {tokens:,.0f} tokens per step, median of {len(rounds)} in turn"
    return row(
        f"{stage}_useful_tokens", statistics.median(shares), "of 1",
        "pretraining's tokens per second", setting, last.command,
    )  # fmt: skip


def step_flops(settings: dict[str, Any], vocabulary: int) -> int:
    """Returns the operations of one step, forward and backward.

    Matrix products with the parameters take 6 per token and parameter. Causal attention has two
    more products.
    """
    width, layers, context = (settings[key] for key in ("n_embd", "n_layer", "n_positions"))
    tokens = settings["per_device_train_batch_size"] * context
    parameters = 12 * layers * width**2 + width * vocabulary
    return tokens * (6 * parameters + 6 * layers * width * context)


def shapes_of(settings: dict[str, Any]) -> str:
    batch = f"{settings['per_device_train_batch_size']} x {settings['n_positions']}"
    return f"width {settings['n_embd']}, {settings['n_layer']} layers, {batch}"


def fastest_product() -> float:
    """Returns the GFLOP/s of matrix products, in float32 or in bfloat16: the faster of the two."""
    import torch

    from poet.speed.hardware import matmul_gflops

    return max(matmul_gflops(torch.float32), matmul_gflops(torch.bfloat16))


# ------------------------------------------------------------------------------------ writing


def writing_rows(checkpoint: Path, titles: list[str], rounds: int) -> Iterator[Row]:
    from poet.generation.load import load

    model, tokenizer = load(checkpoint)
    yield write_256_row(model, tokenizer, titles, rounds)
    yield write_one_row(model, tokenizer, checkpoint)


def write_256_row(model, tokenizer, titles: list[str], rounds: int) -> Row:
    """Compares a batch of poems with the textbook loop, which writes one poem at a time."""
    from poet.generation.write import write_ids

    poems = write_ids(model, tokenizer, titles, seed=0)  # loads or compiles attention
    length = round(statistics.mean(map(len, poems)))
    ratios = []
    for _ in range(rounds):
        one_poem = ask_textbook(f"writing_seconds({length})")
        start = time.perf_counter()
        write_ids(model, tokenizer, titles, seed=0)
        ratios.append(one_poem * len(titles) / (time.perf_counter() - start))
    setting = (
        f"{len(titles)} poems, {length} tokens on average; textbook loop: mean of "
        f"{textbook.POEMS} poems; median of {rounds} in turn"
    )
    return row(
        "write_256", statistics.median(ratios), "times", "the textbook loop",
        setting, "poet.generation.write.write_ids",
    )  # fmt: skip


def write_one_row(model, tokenizer, checkpoint: Path) -> Row:
    """Compares this project with the `pipeline` of transformers. They write one poem in turn."""
    import torch
    from transformers import pipeline

    from poet.generation.write import write_ids
    from poet_tokenizer import ask

    title = "春夜喜雨"  # Welcome Rain on a Spring Night
    plain = pipeline("text-generation", model=str(checkpoint))
    chat = ask(title)
    prompt = len(tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"])
    ours, theirs = [], []
    for seed in range(6):
        start = time.perf_counter()
        tokens = len(write_ids(model, tokenizer, [title], seed=seed)[0])
        ours.append((time.perf_counter() - start) / tokens)
        torch.manual_seed(seed)
        start = time.perf_counter()
        tokens = len(plain(chat, return_tensors=True)[0]["generated_token_ids"]) - prompt
        theirs.append((time.perf_counter() - start) / tokens)
    value = statistics.median(theirs[1:]) / statistics.median(ours[1:])  # the first warms up
    return row(
        "write_one", value, "times", "plain pipeline", "one poem, seconds per token",
        "poet.generation.write.write_ids",
    )  # fmt: skip


def ask_textbook(call: str) -> Any:
    """Returns the result of a function of textbook.py, called in a process of its own.

    The process of this script has written a batch and keeps the freed memory. That would slow the
    loop down.
    """
    code = f"import json, textbook; print(json.dumps(textbook.{call}))"
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "benchmarks",
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)


# ---------------------------------------------------------------------------- whole trainings


def whole_training_rows(commands: Commands) -> Iterator[Row]:
    """Yields the mean time in which three seeds reach the target loss.

    The second row is the loss after a fixed time. Steps of the textbook loop are timed before
    and after each seed.
    """
    runs, steps = [], ask_textbook("step_seconds(15)")[5:]
    for seed in SEEDS:
        runs.append(commands.train("pretrain", "tang", *TO_TARGET, "--seed", str(seed)))
        steps += ask_textbook("step_seconds(15)")[5:]
    step_seconds = statistics.median(steps)
    losses = [run.log.eval_loss for run in runs]
    deviation = statistics.stdev(losses) / len(losses) ** 0.5
    margin = (TARGET_LOSS - statistics.mean(losses)) / deviation
    setting = (
        f"{TO_TARGET[1]} steps, losses {', '.join(f'{loss:.4f}' for loss in losses)}: "
        f"{margin:.1f} standard errors below {TARGET_LOSS}"
    )
    seconds = statistics.mean(run.seconds for run in runs)
    yield row(
        f"time_to_{TARGET_LOSS}", seconds / (step_seconds * textbook.STEPS), "of 1",
        f"{textbook.STEPS:,} steps of the textbook loop", setting, runs[0].command,
    )  # fmt: skip
    yield loss_by_clock_row(commands, 2000 * step_seconds)


def loss_by_clock_row(commands: Commands, budget: float) -> Row:
    """Returns the loss after `budget` seconds, which include start and compilation."""
    minutes = (budget - START_SECONDS) / 60
    run = commands.train("pretrain", "tang", "--minutes", f"{minutes:.2f}")
    setting = (
        f"{run.log.steps} steps, {run.seconds:.0f} s; 2,000 steps of the textbook loop take "
        f"{budget:.0f} s"
    )
    return row(
        "loss_after_2000_steps_time", run.log.eval_loss, "nats", "nothing", setting, run.command
    )


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
