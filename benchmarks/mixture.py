"""Pretrains on Tang and Song poems together, to compare with Tang poems alone in equal time.

    python benchmarks/mixture.py [--corpus PATH] [--song PATH]

The evaluation part is that of the recipe `tang`. Song poems that share a line with it are left
out. The others are sampled until they make up `SONG_SHARE` of the characters. The trials on Tang
poems alone are in results/shapes.json. Trials that results/mixture.json already holds are not run
again.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

import table
from commands import Commands, recipe_path
from shapes import run_trial

SONG_SHARE = 0.7
TRIALS = ((4, ""), (12, ""))  # minutes and options
RESULTS = table.RESULTS / "mixture.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corpus", default="tang", help="a local copy of the Tang corpus (%(default)s)"
    )
    parser.add_argument(
        "--song", default="song", help="a local copy of the Song corpus (%(default)s)"
    )
    options = parser.parse_args()
    trials = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    finished = {(trial["minutes"], trial["options"]) for trial in trials}
    left = [key for key in TRIALS if key not in finished]
    if not left:
        print(f"{RESULTS} already holds all trials. To run one again, remove it there.")
        return
    machine = table.describe_cpu()
    with tempfile.TemporaryDirectory() as folder:
        commands = Commands(Path(folder), options.corpus)
        commands.prepare_data()
        counts = mix(commands.folder, options.song)
        for minutes, shape in left:
            trials.append({**counts, **run_trial(commands, machine, minutes, shape)})
            RESULTS.write_text(json.dumps(trials, indent=1) + "\n", encoding="utf-8")


def mix(run: Path, song: str) -> dict[str, int]:
    """Adds Song poems to the pretraining rows of a run, and returns the counts."""
    import datasets

    from poet.data.options import DataOptions
    from poet.data.poems import read_corpus
    from poet.data.rows import split_title
    from poet.data.run_data import load_stage
    from poet.text import poem_lines
    from poet.training.command_line import recipe_numbers

    rows = load_stage(run, "pretrain")
    held_out_lines = {
        line for text in rows["test"]["text"] for line in poem_lines(split_title(text)[1])
    }
    rules, _ = recipe_numbers(DataOptions, recipe_path("tang", "data"))
    poems = read_corpus(song, {}, rules.min_couplets, rules.equal_couplets, rules.forbidden).poems
    allowed = [poem for poem in poems if held_out_lines.isdisjoint(poem_lines(poem.text))]
    texts = list(rows["train"]["text"])
    tang_characters = sum(map(len, texts))
    wanted = tang_characters * SONG_SHARE / (1 - SONG_SHARE)
    rng = random.Random(0)
    rng.shuffle(allowed)
    song_poems, song_characters = 0, 0
    for poem in allowed:
        if song_characters >= wanted:
            break
        texts.append(poem.with_title)
        song_poems += 1
        song_characters += len(texts[-1])
    rng.shuffle(texts)
    path = run / "data" / "pretrain" / "train.parquet"
    datasets.Dataset.from_dict({"text": texts}).to_parquet(path)
    return {
        "song_poems": len(poems),
        "that_share_a_line": len(poems) - len(allowed),
        "song_poems_taken": song_poems,
        "tang_characters": tang_characters,
        "song_characters": song_characters,
    }


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
