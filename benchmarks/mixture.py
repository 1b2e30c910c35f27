"""Do other poems help? Pretraining on the Tang poems with Song ones, against the Tang poems alone, in equal time or as many steps.

    python benchmarks/mixture.py [--corpus PATH] [--song PATH]     # what results/mixture.json holds already is not trained again

Evaluated is the tutorial's Tang part; Song poems that share a line of it are left out, and of the others so many are drawn that they
make up `SHARE` of the characters. The trials alone are those of benchmarks/shapes.py, with the shapes that the recipe chooses by the clock.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

import bench  # beside this file
import shapes

sys.path.insert(0, str(bench.ROOT))

SHARE = 0.7
# Minutes and options. The last are the steps of the hour of benchmarks/shapes.py, less a twentieth since each takes longer, and
# without its dropout, since they are three passes over the text and not nine.
TRIALS = ((4, ""), (12, ""), (None, "--max_steps 7000 --n_layer 4"))
RESULTS = bench.RESULTS / "mixture.json"


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
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    known = {(each["minutes"], each["options"]) for each in found}
    left = [each for each in TRIALS if each not in known]
    if not left:
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = bench.Bench(Path(folder), options.corpus)
        list(runs.data())
        mixed = mix(runs.folder, options.song)
        for minutes, shape in left:
            found.append({**mixed, **shapes.trial(runs, minutes, shape)})
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def mix(run: Path, song: str) -> dict[str, int]:
    """Puts Song poems among the rows that pretrain in `run`; the numbers of poems and characters."""
    import datasets

    from poet.data.poems import read_corpus
    from poet.data.rows import split_title
    from poet.data.run_data import DataOptions, load_stage
    from poet.text import poem_lines

    rows = load_stage(run, "pretrain")
    held_out = {line for text in rows["test"]["text"] for line in poem_lines(split_title(text)[1])}
    rules = DataOptions(**bench.recipe("tang", "data"))
    poems = read_corpus(song, {}, rules.min_couplets, rules.equal_couplets, rules.forbidden).poems
    apart = [poem for poem in poems if held_out.isdisjoint(poem_lines(poem.text))]
    texts = list(rows["train"]["text"])
    tang = sum(map(len, texts))
    draw = random.Random(0)
    draw.shuffle(apart)
    taken, characters = 0, 0
    for poem in apart:
        if characters >= tang * SHARE / (1 - SHARE):
            break
        texts.append(f"{poem.title}\n{poem.text}")
        taken, characters = taken + 1, characters + len(texts[-1])
    draw.shuffle(texts)
    datasets.Dataset.from_dict({"text": texts}).to_parquet(
        run / "data" / "pretrain" / "train.parquet"
    )
    return {
        "song_poems": len(poems), "that_share_a_line": len(poems) - len(apart), "song_poems_taken": taken,
        "tang_characters": tang, "song_characters": characters,
    }  # fmt: skip


if __name__ == "__main__":
    from poet import errors

    errors.run(main)
