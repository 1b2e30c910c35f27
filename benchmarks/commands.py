"""Runs this project's commands in one folder, and reads the logs that they leave.

It knows run.py and the training scripts. It does not know which figures are compared.
"""

import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The options of a short run: it only evaluates at its end, and it saves no checkpoint before.
SHORT_RUN = "--eval_strategy no --eval_on_start false --save_strategy no --logging_steps 5".split()

sys.path.insert(0, str(ROOT))


@dataclass(frozen=True)
class Log:
    """The figures that a stage's log gives.

    Attributes:
        step_seconds: the median seconds per step. The first quarter of the steps does not count.
        tokens_per_second: useful tokens per second over the same steps. Padding is not counted.
        eval_loss: the loss of the last evaluation.
        eval_seconds: the seconds that the last evaluation took.
        steps: the number of steps trained.
    """

    step_seconds: float
    tokens_per_second: float
    eval_loss: float
    eval_seconds: float
    steps: int


@dataclass(frozen=True)
class TrainingRun:
    """One training command that has ended.

    Attributes:
        command: the command, without the options in `SHORT_RUN`.
        folder: the checkpoint.
        seconds: the seconds from the start of the command to its last step.
        log: the figures of its log.
        in_turn: the figures that benchmarks/overhead.py adds. Empty for other scripts.
    """

    command: str
    folder: Path
    seconds: float
    log: Log
    in_turn: dict[str, float]


class Commands:
    """Runs commands on the data of one folder, and notes the largest memory they took."""

    def __init__(self, folder: Path, corpus: str):
        self.folder, self.corpus = folder, corpus
        self.peak_gigabytes = 0.0

    def prepare_data(self) -> None:
        """Makes the data of the recipe `tang`."""
        data = ("--corpus", self.corpus, "--stages", "data", "--output_dir", str(self.folder))
        self.call("run.py", "--recipe", "tang", *data)

    def start_from(self, run: TrainingRun, stage: str) -> None:
        """Links the checkpoint of `run`, so that the next stage starts from it."""
        link = self.folder / stage
        link.unlink(missing_ok=True)
        link.symlink_to(run.folder)

    def train(
        self, stage: str, recipe_name: str, *options: str, script: str | None = None
    ) -> TrainingRun:
        """Trains a stage of a recipe in a new folder, by its own script or by another one."""
        script = script or f"train_{stage}.py"
        output = self.folder / f"run-{time.monotonic_ns()}" / stage
        output.parent.mkdir()
        for name in ("data", "pretrain", "sft"):
            if name != stage and (self.folder / name).exists():
                (output.parent / name).symlink_to(self.folder / name)
        command = [script, "--config", f"configs/{recipe_name}/{stage}.yaml", *options]
        start = time.perf_counter()
        launcher = [] if stage == "pretrain" else ["benchmarks/compiled.py"]
        self.call(*launcher, *command, *SHORT_RUN, "--output_dir", str(output))
        seconds = time.perf_counter() - start
        log = read_log(output)
        run = TrainingRun(
            " ".join(command), output, seconds - log.eval_seconds, log, read_in_turn(output)
        )
        print(
            f"{run.command}: {log.step_seconds:.3f} s per step, "
            f"evaluation loss {log.eval_loss:.4f}, {run.seconds:.0f} s",
            flush=True,
        )
        return run

    def call(self, *command: str) -> None:
        """Runs one of this project's commands.

        Raises:
            UserError: the command reports a mistake of the user, such as a wrong corpus.
        """
        from poet.errors import UserError

        process = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        errors = process.stderr.decode()
        if process.returncode == 2:  # the last line holds the message
            raise UserError(errors.strip().splitlines()[-1].removeprefix("error: "))
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}:\n{errors}")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        self.peak_gigabytes = max(self.peak_gigabytes, peak)


def read_log(folder: Path) -> Log:
    """Returns the figures that the log of a stage gives."""
    from poet.training.checkpoints import log_history

    history = log_history(folder)
    logs = [log for log in history if "seconds" in log and ("loss" in log or "sampled_loss" in log)]
    logs = logs[len(logs) // 4 :]  # the first steps compile
    step_seconds = [
        (later["seconds"] - earlier["seconds"]) / (later["step"] - earlier["step"])
        for earlier, later in itertools.pairwise(logs)
    ]
    first, last = logs[0], logs[-1]
    tokens = last.get("num_tokens", 0) - first.get("num_tokens", 0)
    evaluation = next(log for log in reversed(history) if "eval_loss" in log)
    return Log(
        statistics.median(step_seconds),
        tokens / (last["seconds"] - first["seconds"]),
        evaluation["eval_loss"],
        evaluation["eval_runtime"],
        last["step"],
    )


def read_in_turn(folder: Path) -> dict[str, float]:
    """Returns the figures of benchmarks/overhead.py in a checkpoint, or {}."""
    path = folder / "in_turn.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def recipe_path(name: str, stage: str) -> Path:
    return ROOT / "configs" / name / f"{stage}.yaml"


def read_pretraining(name: str) -> dict[str, Any]:
    """Returns the settings of pretraining in a recipe, and the defaults that it does not change."""
    from poet.training.command_line import recipe_numbers
    from poet.training.options import PretrainOptions

    options, numbers = recipe_numbers(PretrainOptions, recipe_path(name, "pretrain"))
    return {**vars(options), **numbers}


def titles_to_write(run: Path) -> list[str]:
    """Returns 256 held-out titles of a run's data, of at most 40 characters each."""
    from poet.data.rows import content
    from poet.data.run_data import load_stage

    titles = [content(row["prompt"]) for row in load_stage(run, "sft")["test"]]
    return [title for title in titles if len(title) <= 40][:256]
