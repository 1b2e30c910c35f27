"""Kills each training script at every file that it writes, and starts it again.

    make chaos                                # 2 hours: ten minutes per case
    .venv/bin/python benchmarks/chaos.py --case train_sft

The package ckpt-chaos counts what a run creates, renames or removes in its folder. It kills a new
run at each of these points and runs the same command again. The final weights must be those of an
undisturbed run. A point is tried in three ways. `before` kills just before the file
changes. `torn` leaves half of the file. `term` sends SIGTERM, and kills five seconds later.

The models are tiny and take two steps. A checkpoint follows each step, and all are kept. Before the
first case, 25 undisturbed runs must agree. benchmarks/launcher.py makes the launches quick.
Results go to benchmarks/results/chaos.json and to the table in docs/reliability.md.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from commands import ROOT
from table import commit_here

LAUNCHER = str(ROOT / "benchmarks" / "launcher.py")
RESULTS = ROOT / "benchmarks" / "results" / "chaos.json"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- chaos: begin -->\n", "<!-- chaos: end -->"
UNDISTURBED = "undisturbed runs of train_pretrain"
SAMPLE = ROOT / "poet" / "sample" / "poems.jsonl"
POEMS = 200  # a run reads them all, so fewer are quicker
VERDICTS = ("HARD_FAIL", "SILENT_DIVERGENCE", "LOST_WORK", "CONTROL_FAIL")
STEP = r"(?:resuming from .*checkpoint-|already finished: .* \(step )(\d+)"

TINY = (
    "--max_steps 2 --save_steps 1 --eval_steps 1 --logging_steps 1 --warmup_steps 0 "
    "--save_total_limit 10 --per_device_train_batch_size 4 --bf16 false --use_cpu true"
)
OPTIONS = {
    "pretrain": "--config configs/sample/pretrain.yaml --n_embd 16 --n_layer 1 --n_head 2",
    "sft": "--config configs/sample/sft.yaml",
    "dpo": "--config configs/sample/dpo.yaml",
    "grpo": "--config configs/tang-regulated/grpo.yaml --num_generations 2 "
    "--per_device_eval_batch_size 64 --max_completion_length 20",
    "distill": "--config configs/tang-regulated/distill.yaml --rounds 1 --samples_per_round 8 "
    "--gradient_accumulation_steps 1",
}
CASES = {f"train_{stage}": (stage, 1, 0) for stage in OPTIONS} | {
    f"train_{stage}, two processes, {rank} killed": (stage, 2, number)
    for stage in ("pretrain", "sft", "dpo")
    for number, rank in enumerate(("first", "second"))
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--case", nargs="*", choices=CASES, default=[*CASES], help="cases to run; default: all"
    )
    parser.add_argument("--flake", type=int, default=25, help="undisturbed runs before all cases")
    parser.add_argument("--points", type=int, help="kill points per case, spread evenly")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "chaos")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the processes that it started
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    work = args.work.resolve()
    make_base(work / "base")
    if args.flake:
        check_agreement(work, args.flake)
    address = str(work / "launcher")
    Path(address).unlink(missing_ok=True)
    server = subprocess.Popen([sys.executable, LAUNCHER, "serve", address])
    try:
        while not Path(address).exists():
            time.sleep(0.1)
        failed = [case for case in args.case if not run_case(case, work, address, args)]
    finally:
        server.kill()
    if failed:
        sys.exit(f"failed: {'; '.join(failed)}. The runs are in {work}")


def make_base(base: Path) -> None:
    """Makes the data, and the models that the later stages start from."""
    base.mkdir(parents=True, exist_ok=True)
    lines = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    (base / "poems.jsonl").write_text("".join(lines[:POEMS]), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for words in (
        f"run.py --recipe sample --corpus {base}/poems.jsonl --stages data --output_dir {base}",
        command("pretrain", base),
        command("sft", base),
    ):
        subprocess.run(
            [sys.executable, *words.split()], cwd=ROOT, env=environment, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


def command(stage: str, run: Path | str) -> str:
    """Returns the script and the options that train a stage in a run folder."""
    words = f"{OPTIONS[stage]} {TINY} --output_dir {run}/{stage}"
    if stage in ("grpo", "distill"):  # their recipes name a folder of another run
        words += f" --model_name_or_path {run}/sft"
    return f"{ROOT}/train_{stage}.py {words}"


def prepare(base: Path, run: Path | str, stage: str) -> str:
    """Returns a shell command that puts the stages before `stage` into a run folder, as links."""
    names = ["data", *[s for s in ("pretrain", "sft") if s != stage and stage != "pretrain"]]
    links = " && ".join(f"ln -sfn {base}/{name} {run}/{name}" for name in names)
    return f"mkdir -p {run} && {links}"


def check_agreement(work: Path, times: int) -> None:
    """Pretrains several times in new processes without a fault, and compares the weights."""
    sums = set()
    for number in range(times):
        run = work / "flake"
        shutil.rmtree(run, ignore_errors=True)
        words = f"{prepare(work / 'base', run, 'pretrain')} && exec {sys.executable} "
        subprocess.run(
            ["sh", "-c", words + command("pretrain", run)], cwd=ROOT, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        sums.add(hashlib.sha256((run / "pretrain/model.safetensors").read_bytes()).hexdigest())
        print(f"\rundisturbed run {number + 1} of {times}", end="", flush=True)
    print(f": {len(sums)} different result{'s' * (len(sums) > 1)}", flush=True)
    if len(sums) > 1:
        sys.exit(
            "undisturbed runs differ, so a resumed run cannot be judged. "
            "First find out why train_pretrain.py ends with different weights."
        )
    record(UNDISTURBED, {"runs": times})


def run_case(case: str, work: Path, address: str, args: argparse.Namespace) -> bool:
    """Runs ckpt-chaos on one case, records the verdicts, and returns whether all are good."""
    from ckpt_chaos.runner import rejudge

    stage, processes, killed = CASES[case]
    folder = work / case.replace(", ", "-").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    start = f"{prepare(work / 'base', '{out}', stage)} && exec {sys.executable} -I -S {LAUNCHER} "
    words = start + f"start {address} {command(stage, '{out}')}"
    tool = [sys.executable, "-m", "ckpt_chaos", "run", "--work", str(folder)]
    tool += ["--fail-on", ",".join(VERDICTS), "--modes", "before,torn,term"]
    tool += ["--max-points", str(args.points or 1_000_000), "--jobs", str(args.jobs)]
    tool += ["--checkpoint-glob", f"{{out}}/{stage}/checkpoint-*", "--ckpt-ignore-size"]
    tool += ["--step-regex", STEP, "--result-file", f"{{out}}/{stage}/model.safetensors"]
    tool += ["--ranks", str(processes), "--crash-rank", str(killed)]
    print(f"\n{case}\n{shlex.join(tool)} -- sh -c {shlex.quote(words)}", flush=True)
    begun = time.monotonic()
    done = subprocess.run([*tool, "--", "sh", "-c", words], cwd=ROOT)
    rows = rejudge(folder)
    counts = Counter(row.verdict for row in rows)
    found = {"points": len(rows) - 1, **{verdict: counts[verdict] for verdict in VERDICTS}}
    if args.points:
        found["points"] = f"{len(rows) - 1}, a sample"
    found["minutes"] = round((time.monotonic() - begun) / 60)
    record(case, found)
    if done.returncode == 0:
        shutil.rmtree(folder)
    return done.returncode == 0


def record(case: str, found: dict) -> None:
    """Saves the result of a case, and writes the table in docs/reliability.md again."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    results[case] = found | {"commit": commit_here()}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(results) + END + rest.partition(END)[2], "utf-8")


def table(results: dict) -> str:
    """Returns the results as a Markdown table, with a row for each case."""
    lines = [
        "| script | kill points | resume fails | other weights | work lost | commit |",
        "|---|---|---|---|---|---|",
    ]
    for case in CASES:
        found = results.get(case)
        cells = ["not run yet", "", "", "", ""]
        if found:
            cells = [str(found[key]) for key in ("points", *VERDICTS[:3], "commit")]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    if UNDISTURBED in results:
        runs = results[UNDISTURBED]["runs"]
        lines += ["", f"{runs} undisturbed runs of train_pretrain.py ended with the same weights."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
