"""The whole journey in five narrated stages: poems, a configuration, pretraining, fine-tuning, alignment.

    python run.py --recipe sample
    python run.py --recipe tang --corpus PATH --output_dir runs/mine --stages data,pretrain

Run it again and it goes on where it was cut off, and skips what is done. Stages three to five are the commands that a
person would type (train_pretrain.py, train_sft.py, train_dpo.py, train_grpo.py, train_distill.py); the numbers are in configs/<recipe>/.
"""

import argparse
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from poet import errors
from poet.errors import UserError
from poet.training import checkpoints
from poet.training.stages import ALIGNED, JOURNEY

ROOT = Path(__file__).resolve().parent
STAGES = ("data", *JOURNEY)


def main() -> int:
    options = parse_options()
    recipe, run = (
        ROOT / "configs" / options.recipe,
        Path(options.output_dir or f"runs/{options.recipe}"),
    )
    say(1, "A folder of poems becomes three data sets")
    make_data(recipe, run, options.corpus)
    say(2, "The configuration")
    print(describe_configuration(recipe, run, options.minutes), flush=True)
    minutes = share_out(options.minutes, options.stages)
    for stage, facts in JOURNEY.items():
        if stage in options.stages:
            say(facts.number, facts.narrated)
            code = train(stage, recipe, run, minutes[stage])
            if code:
                return code
    if set(ALIGNED) & set(options.stages):
        report(recipe, run)
    return 0


def parse_options() -> argparse.Namespace:
    recipes = sorted(path.parent.name for path in ROOT.glob("configs/*/data.yaml"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recipe",
        default="sample",
        help=f"one of {', '.join(recipes)}, or a folder of your own in configs/",
    )
    parser.add_argument(
        "--corpus", help="a folder, a file or a Hub id, in place of the recipe's corpus"
    )
    parser.add_argument(
        "--stages",
        help=f"the stages to run, of {','.join(STAGES)}; all that the recipe has if left out",
    )
    parser.add_argument("--minutes", type=float, help="train so long in all, whatever the machine")
    parser.add_argument("--output_dir", help="the run's folder; runs/RECIPE if left out")
    parser.error = errors.refuse  # type: ignore[method-assign]
    options = parser.parse_args()
    if options.recipe not in recipes:
        raise UserError(
            f"there is no recipe {options.recipe} in configs/; there are {', '.join(recipes)}"
        )
    there = [
        stage for stage in STAGES if (ROOT / "configs" / options.recipe / f"{stage}.yaml").is_file()
    ]
    options.stages = there if options.stages is None else options.stages.split(",")
    for stage in options.stages:
        if stage not in STAGES:
            raise UserError(f"there is no stage {stage!r}; the stages are {', '.join(STAGES)}")
        if stage not in there:
            raise UserError(
                f"the recipe {options.recipe} has no stage {stage}; it has {', '.join(there)}"
            )
    return options


def share_out(minutes: float | None, stages: list[str]) -> dict[str, float | None]:
    """What each of the stages that train gets of --minutes."""
    shares = {stage: facts.share for stage, facts in JOURNEY.items() if stage in stages}
    return {
        stage: minutes and minutes * share / sum(shares.values()) for stage, share in shares.items()
    }


def say(number: int, what: str) -> None:
    print(f"\n{'─' * 72}\n{number} of 5  {what}\n", flush=True)


def make_data(recipe: Path, run: Path, corpus: str | None) -> None:
    from poet.data.run_data import DataOptions, build_datasets, format_summary
    from poet.training.options import parse

    override = [] if corpus is None else ["--corpus", corpus]
    (arguments,) = parse(DataOptions, argv=["--config", str(recipe / "data.yaml"), *override])
    print(format_summary(build_datasets(arguments, run)), flush=True)


def describe_configuration(recipe: Path, run: Path, minutes: float | None) -> str:
    """The model that the recipe asks for, and what each number means for it."""
    from poet.data.run_data import characters
    from poet.training.options import PretrainArguments

    if origin(recipe):
        return f"The model is that of {origin(recipe)}, fine-tuned already."
    numbers = asdict(PretrainArguments()) | read(recipe / "pretrain.yaml")
    shape = (
        "The recipe, whose shape the minutes may change, has a"
        if minutes and numbers["shapes"]
        else "A"
    )
    return (
        f"{shape} GPT-2 with {numbers['n_layer']} layers, {numbers['n_embd']} numbers a character, {numbers['n_head']} attention "
        f"heads, and sight of {numbers['n_positions']} characters.\n"
        f"It knows {len(characters(run)):,} characters; others are written in bytes."
    )


def origin(recipe: Path) -> str | None:
    """The model that a recipe which only aligns starts from."""
    return read(recipe / "dpo.yaml").get("model_name_or_path")


def read(path: Path) -> dict:
    """A stage's numbers; none where the recipe has not the stage."""
    from poet.training.options import read_yaml

    return read_yaml(path) if path.is_file() else {}


def train(stage: str, recipe: Path, run: Path, minutes: float | None) -> int:
    """Runs the stage's command; its exit code is ours."""
    if checkpoints.is_finished(run / stage):
        print(f"done already: {run / stage}", flush=True)
        return 0
    command = [
        sys.executable,
        str(ROOT / f"train_{stage}.py"),
        "--config",
        str(recipe / f"{stage}.yaml"),
    ]
    command += ["--output_dir", str(run / stage)]
    if minutes is not None:
        command += ["--minutes", str(minutes)]
    process = subprocess.Popen(command)
    signal.signal(
        signal.SIGTERM, lambda *_: process.terminate()
    )  # the stage ends with a checkpoint, as after Ctrl-C
    try:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the stage got the same Ctrl-C, and ends with a checkpoint
                continue
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def report(recipe: Path, run: Path) -> None:
    from poet.evaluation.evaluate import evaluate
    from poet.evaluation.report import write_report

    print(f"\nThe report: {write_report(run, evaluate(run, origin(recipe)))}", flush=True)


if __name__ == "__main__":
    errors.run(main)
