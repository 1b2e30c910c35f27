"""Runs all five stages and explains them, from poems to an aligned model.

    python run.py --recipe sample
    python run.py --recipe tang --corpus PATH --output_dir runs/mine --stages data,pretrain

Run the same command again to resume: finished stages are skipped. Stages 3 to 5 run the commands
that you could type yourself, such as train_pretrain.py. The numbers are in configs/<recipe>/.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from poet import console, errors, interrupts
from poet.errors import UserError
from poet.training import checkpoints
from poet.training.stages import JOURNEY

if TYPE_CHECKING:
    from poet.data.options import DataOptions

ROOT = Path(__file__).resolve().parent
STAGES = ("data", *JOURNEY)
OWN = "own"  # the recipe whose numbers are chosen from the texts


def main() -> int:
    options, data_words = parse_options()
    interrupts.kept = lambda: "Finished stages are kept. Run the same command to resume."
    recipe = ROOT / "configs" / options.recipe
    run = Path(options.output_dir or f"runs/{options.recipe}")
    if options.save_recipe:
        check_recipe_name(run, options.save_recipe)
    console.heading(1, 5, "Data: a folder of texts becomes three data sets", "01-tokenizer")
    texts = data_options(recipe, data_words)
    make_data(texts, run)
    if options.recipe == OWN:
        recipe = choose_recipe(recipe, run, texts, options.save_recipe)
    show_rows(recipe, run)
    stages = with_data(options.stages, run)
    console.heading(2, 5, "Configuration: the model and its training", "05-model")
    print(describe_configuration(recipe, run, options.minutes, options.plain), flush=True)
    minutes = split_minutes(options.minutes, stages)
    for stage, info in JOURNEY.items():
        if stage in stages:
            console.heading(info.number, 5, heading_of(stage, run), info.chapter)
            code = train(stage, recipe, run, minutes[stage], options.plain)
            if code:
                return code
    if stages and stages[-1] == with_data(stages_of(recipe), run)[-1]:
        report(recipe, run)
    return 0


def parse_options() -> tuple[argparse.Namespace, list[str]]:
    """Returns the options of this command, and the rest of its words: the options of the data."""
    recipes = sorted(path.parent.name for path in ROOT.glob("configs/*/data.yaml"))
    parser = errors.Parser(
        allow_abbrev=False,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--recipe",
        default="sample",
        help=f"one of {', '.join(recipes)}, or your own in configs/; default: %(default)s",
    )
    parser.add_argument(
        "--save_recipe",
        metavar="NAME",
        help=f"with --recipe {OWN}: keep the chosen numbers as configs/NAME",
    )
    parser.add_argument(
        "--stages",
        help=f"stages to run, separated by commas, of {','.join(STAGES)}; "
        "default: all of the recipe",
    )
    parser.add_argument("--minutes", type=float, help="train for this many minutes in total")
    parser.add_argument(
        "--output_dir", type=os.path.expanduser, help="folder of the run; default: runs/RECIPE"
    )
    parser.add_argument(
        "--plain", action="store_true", help="train without the speed-ups in poet/speed"
    )
    if {"-h", "--help"} & set(sys.argv[1:]):
        parser.epilog = data_help()
    options, data_words = parser.parse_known_args()
    if options.recipe not in recipes:
        raise UserError(
            f"there is no recipe {options.recipe} in configs/. Recipes: {', '.join(recipes)}."
        )
    if options.save_recipe and options.recipe != OWN:
        raise UserError(f"--save_recipe needs --recipe {OWN}, which chooses the numbers.")
    available = stages_of(ROOT / "configs" / options.recipe)
    options.stages = available if options.stages is None else options.stages.split(",")
    for stage in options.stages:
        if stage not in STAGES:
            raise UserError(f"there is no stage {stage!r}. Stages: {', '.join(STAGES)}.")
        if stage not in available:
            raise UserError(
                f"the recipe {options.recipe} has no stage {stage}. It has {', '.join(available)}."
            )
    return options, data_words


def data_help() -> str:
    """Returns the help of the options that choose the texts. data.yaml has the same names."""
    from dataclasses import fields

    from poet.data.options import DataOptions

    texts = [f"  --{field.name}\n      {field.metadata['help']}" for field in fields(DataOptions)]
    return "\n".join(["options of the data, instead of the values in data.yaml:", *texts])


def stages_of(recipe: Path) -> list[str]:
    """Returns the stages that a recipe has a file for."""
    return [stage for stage in STAGES if (recipe / f"{stage}.yaml").is_file()]


def with_data(stages: list[str], run: Path) -> list[str]:
    """Returns the stages that have rows to train on."""
    from poet.data.run_data import left_out

    missing = left_out(run)
    return [stage for stage in stages if stage == "data" or JOURNEY[stage].rows not in missing]


def heading_of(stage: str, run: Path) -> str:
    """Returns the heading of a stage, about the texts of the run."""
    from poet.data.kind import kind_of
    from poet.data.run_data import load_summary

    return JOURNEY[stage].told_of(kind_of(load_summary(run), stage)).heading


def split_minutes(minutes: float | None, stages: list[str]) -> dict[str, float | None]:
    """Returns the minutes of each stage that trains, or None where there is no limit."""
    shares = {stage: info.share for stage, info in JOURNEY.items() if stage in stages}
    if minutes is None:
        return dict.fromkeys(shares)
    return {stage: minutes * share / sum(shares.values()) for stage, share in shares.items()}


def make_data(texts: "DataOptions", run: Path) -> None:
    """Makes the data sets of the run and prints what they hold."""
    from poet.data.build import build_datasets, format_summary

    if (run / "data" / "summary.json").is_file():
        print(f"The data are already made. To make them again, delete {run / 'data'}.\n")
    print(format_summary(build_datasets(texts, run)), flush=True)


def data_options(recipe: Path, words: list[str]) -> "DataOptions":
    """Returns the options of the data: those of the recipe, and `words` of the command line."""
    from poet.data.options import DataOptions
    from poet.training.command_line import parse

    return parse(DataOptions, argv=["--config", str(recipe / "data.yaml"), *words])[0]


def check_recipe_name(run: Path, name: str) -> None:
    from poet.data.own import check_name

    check_name(run, ROOT / "configs", name)


def choose_recipe(recipe: Path, run: Path, texts: "DataOptions", save_as: str | None) -> Path:
    """Chooses the numbers for the texts of the run, and returns the folder of that recipe."""
    from poet.data.own import save_recipe, write_recipe

    print(write_recipe(recipe, run, texts), flush=True)
    if save_as:
        print(f"Saved as the recipe {save_recipe(run, ROOT / 'configs', save_as)}.", flush=True)
    return run / "recipe"


def show_rows(recipe: Path, run: Path) -> None:
    """Prints a row of each set on its way into a batch."""
    from poet.data.show import show_data
    from poet.training.options import PretrainOptions

    length = read_recipe(recipe / "pretrain.yaml").get("n_positions", PretrainOptions.n_positions)
    print(f"\n{show_data(run, length)}", flush=True)


def describe_configuration(
    recipe: Path, run: Path, minutes: float | None, plain: bool = False
) -> str:
    """Returns the size of the model, where its parameters are, and the length of pretraining."""
    if start_model(recipe):
        return f"This recipe aligns a model that is already fine-tuned: {start_model(recipe)}."
    if not (recipe / "pretrain.yaml").is_file():
        return "This recipe has no pretraining."
    from poet import device
    from poet.data.run_data import load_summary, make_tokenizer
    from poet.speed.hardware import matmul_gflops
    from poet.training import size
    from poet.training.card import duration
    from poet.training.command_line import recipe_numbers
    from poet.training.options import PretrainOptions

    options, numbers = recipe_numbers(PretrainOptions, recipe / "pretrain.yaml")
    options.plain |= plain
    vocabulary = len(make_tokenizer(run, options.n_positions))
    parts = size.parameters(options, vocabulary)
    total = sum(parts.values())
    lines = [
        f"GPT-2: {options.n_layer} layers, width {options.n_embd}, {options.n_head} attention "
        f"heads, a context of {options.n_positions} tokens.",
        f"Vocabulary: {vocabulary:,} tokens, one per character. Other characters become bytes.",
        f"Parameters: {total:,}",
        *(f"  {count / total:>4.0%}  {name}" for name, count in parts.items()),
    ]
    if minutes and options.shapes:
        return "\n".join([*lines, "With --minutes, pretraining may choose another size."])
    batch = int(numbers["per_device_train_batch_size"])
    steps = int(numbers["max_steps"])
    tokens = steps * batch * options.n_positions
    passes = tokens / load_summary(run)["pretrain_characters"]
    speed = matmul_gflops(device.fast_dtype())
    seconds = size.training_seconds(options, vocabulary, steps, batch, speed)
    lines += [
        f"Pretraining: {steps:,} steps of {batch} x {options.n_positions} tokens, "
        f"{passes:.1f} passes over the text.",
        f"Estimate: about {duration(seconds)} on this machine, which computes {speed:,.0f} "
        "GFLOP/s in matrix products.",
    ]
    return "\n".join(lines)


def start_model(recipe: Path) -> str | None:
    """Returns the model that a recipe without pretraining starts from."""
    named = read_recipe(recipe / "dpo.yaml").get("model_name_or_path")
    return named and os.path.expanduser(named)


def read_recipe(path: Path) -> dict:
    """Returns the numbers of one stage. Returns {} if the recipe does not have it."""
    from poet.training.command_line import read_yaml

    return read_yaml(path) if path.is_file() else {}


def train(stage: str, recipe: Path, run: Path, minutes: float | None, plain: bool) -> int:
    """Runs the command of a stage and returns its exit code."""
    if checkpoints.is_finished(run / stage):
        print(f"already finished: {run / stage}", flush=True)
        return 0
    command = [sys.executable, str(ROOT / f"train_{stage}.py")]
    command += ["--config", str(recipe / f"{stage}.yaml"), "--output_dir", str(run / stage)]
    if minutes is not None:
        command += ["--minutes", str(minutes)]
    if plain:
        command += ["--plain", "true"]
    process = subprocess.Popen(command)
    # After SIGTERM, as after Ctrl-C, the stage ends with a checkpoint and says so.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    signal.signal(signal.SIGINT, lambda *_: None)  # the stage gets the same Ctrl-C
    try:
        while (code := process.poll()) is None:
            time.sleep(0.1)  # `wait` would sleep through a signal that another thread received
        return code if code >= 0 else 128 - code  # as shells count signals
    finally:
        interrupts.listen()


def report(recipe: Path, run: Path) -> None:
    """Evaluates the run on held-out titles and writes report.md."""
    from poet.evaluation.checkpoints import evaluate_run
    from poet.evaluation.report import write_report
    from poet.training.progress import silence_libraries

    silence_libraries()
    rates = evaluate_run(run, start_model(recipe))
    print(f"\nThe report: {write_report(run, rates)}", flush=True)


if __name__ == "__main__":
    errors.run(main)
