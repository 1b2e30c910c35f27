"""Runs the scripts of the chapters with three seeds, and writes book/results/.

    python book/measure.py          # all chapters, after two more trainings of `sample`
    python book/measure.py 04 09    # two chapters
    python book/measure.py 04 --draft    # one seed, with the run in runs/sample

The first run is that of `make run`, so the outputs in the book are those that a reader gets on the
same kind of machine. The other two are in runs/book, and are kept for the next time. `make book`
reads the results.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import table  # noqa: E402

# The seed of the scripts, and the run. Other runs than the first are trained with the same seed.
RUNS = {42: "runs/sample", 43: "runs/book/43", 44: "runs/book/44"}
STAGES = ("pretrain", "sft", "dpo")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", help="numbers of chapters, such as 04; default: all")
    parser.add_argument("--draft", action="store_true", help="one seed, for writing a chapter")
    options = parser.parse_args()
    runs = dict(list(RUNS.items())[: 1 if options.draft else None])
    scripts = sorted(BOOK.glob("code/ch[0-9][0-9]_*.py"))
    if unknown := set(options.chapters) - {script.name[2:4] for script in scripts}:
        parser.error(
            f"there is no chapter {min(unknown)}. Chapters: 00 to {scripts[-1].name[2:4]}."
        )
    scripts = [s for s in scripts if not options.chapters or s.name[2:4] in options.chapters]
    for seed, run in runs.items():
        train(seed, run)
    for script in scripts:
        path = BOOK / "results" / f"{script.name[2:4]}.json"
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(measure(script, runs), indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}", flush=True)


def train(seed: int, run: str) -> None:
    """Trains the recipe `sample` with a seed. A finished run is kept."""
    if (ROOT / run / "dpo" / "model.safetensors").is_file():
        return
    if run == "runs/sample":
        sys.exit("there is no run in runs/sample. Type `make run` first.")
    call("run.py", "--recipe", "sample", "--output_dir", run, "--stages", "data")
    for stage in STAGES:
        recipe = f"configs/sample/{stage}.yaml"
        options = ["--config", recipe, "--output_dir", f"{run}/{stage}", "--seed", str(seed)]
        call(f"train_{stage}.py", *options)


def measure(script: Path, runs: dict[int, str]) -> dict:
    """Runs a script once for each run, and returns its numbers and the output of the first."""
    name = script.relative_to(ROOT).as_posix()
    values: dict[str, list[float]] = {}
    minutes, outputs = [], ""
    for seed, run in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            record = Path(folder) / "numbers.json"
            options = ["--run", run, "--seed", str(seed), "--record", str(record)]
            start = time.perf_counter()
            printed = call(name, *options)
            minutes.append(round((time.perf_counter() - start) / 60, 3))
            outputs = outputs or printed
            for key, number in json.loads(record.read_text(encoding="utf-8")).items():
                values.setdefault(key, []).append(float(f"{number:.9g}"))
    return {
        "command": f"python {name}",
        "commit": table.commit_here(),
        "machine": machine(),
        "seeds": list(runs),
        "values": values | {"minutes": minutes},
        "outputs": split(outputs),
    }


def call(script: str, *options: str) -> str:
    """Runs a script in the repository and returns what it printed."""
    command = [sys.executable, script, *options]
    print("$", "python", *command[1:], flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{script} ended with exit code {done.returncode}.")
    return done.stdout


def split(printed: str) -> dict[str, str]:
    """Returns the parts of an output by the names in their headings `== NAME`."""
    pieces = re.split(r"(?m)^== (.*)$", printed)
    parts = {"": printed}
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        parts[name.strip()] = text.strip("\n")
    return parts


def machine() -> str:
    """Returns the processor's speed in matrix products, which decides how long a training takes."""
    cpu = table.describe_cpu()
    speeds = (cpu["matmul_float32_gflops"], cpu["matmul_bf16_gflops"])
    return "{} cores, {:,} GFLOP/s in float32 and {:,} in bfloat16".format(cpu["cores"], *speeds)


if __name__ == "__main__":
    main()
