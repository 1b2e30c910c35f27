"""Compares settings of pretraining with several seeds each, in turn.

    python benchmarks/seeds.py "" "--sampled_vocabulary 0" --common "--max_steps 850 --n_layer 2"

Each setting is a string of options that are added to the recipe `tang`. "" is the recipe itself.
The trainings take turns: all settings with the first seed, then all with the next one. A loss is
the mean over the whole evaluation part. The seconds are those of the whole command, without its
evaluation. results/seeds.json keeps all trials. A trial of the same commit is not run again.
"""

import argparse
import json
import shlex
import statistics
import tempfile
from pathlib import Path
from typing import Any

import table
from commands import Commands

RESULTS = table.RESULTS / "seeds.json"

Trial = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="+", help="options, one string per setting")
    parser.add_argument("--common", default="", help="options that all settings share")
    parser.add_argument(
        "--seeds", nargs="+", default=["0", "1", "2"], help="random seeds; default: 0 1 2"
    )
    parser.add_argument("--corpus", default="tang", help="a local copy of the Tang corpus")
    options = parser.parse_args()
    trials = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    machine, commit = table.describe_cpu(), table.commit_here()
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder), options.corpus)
        commands.prepare_data()
        for seed in options.seeds:
            for setting in options.settings:
                words = f"{options.common} {setting}".strip()
                key = {"options": words, "seed": seed, "commit": commit}
                if any(key.items() <= trial.items() for trial in trials):
                    continue
                trials.append(key | run_trial(commands, words, seed) | {"machine": machine})
                text = json.dumps(trials, indent=1) + "\n"
                RESULTS.write_text(text, encoding="utf-8")
    for setting in options.settings:
        words = f"{options.common} {setting}".strip()
        print(describe([trial for trial in trials if trial["options"] == words]))


def run_trial(commands: Commands, words: str, seed: str) -> Trial:
    """Pretrains with some options and a seed, and returns the figures."""
    run = commands.train("pretrain", "tang", *shlex.split(words), "--seed", seed)
    return {"eval_loss": round(run.log.eval_loss, 4), "seconds": round(run.seconds, 1)}


def describe(trials: list[Trial]) -> str:
    """Returns the mean loss of a setting, its standard error, and the mean time."""
    losses = [trial["eval_loss"] for trial in trials]
    error = statistics.stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else float("nan")
    seconds = statistics.mean(trial["seconds"] for trial in trials)
    return (
        f"{trials[0]['options']}: loss {statistics.mean(losses):.4f} +- {error:.4f} "
        f"({', '.join(f'{loss:.4f}' for loss in losses)}), {seconds:.0f} s"
    )


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
