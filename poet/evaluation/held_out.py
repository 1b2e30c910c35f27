"""Finds the poems that models are measured on.

It knows run folders and corpora. It does not know models.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from poet.data import build, run_data
from poet.data.poems import read_corpus
from poet.data.rows import (
    POEM_SEPARATOR,
    Row,
    content,
    training_texts,
)
from poet.data.sets import make_sets
from poet.data.shapes import DOCUMENTS
from poet.errors import UserError
from poet.text import LINE_END

_WIDE_MARKS = str.maketrans(",.?!;", "，。？！；")


class TitledPoem(NamedTuple):
    """A title and its poem, one couplet per row of `text`."""

    title: str
    text: str


@dataclass(frozen=True)
class HeldOut:
    """The held-out poems of a corpus, and the poems that the models were trained on.

    `poems` are held out from fine-tuning and `text` is held out from pretraining. `training` has
    the poems of all three training parts, which a model may have copied.
    """

    poems: list[TitledPoem]
    text: str
    training: list[str]


def load_from_run(run: Path) -> HeldOut:
    """Returns the held-out parts of a run folder.

    Raises:
        UserError: the run has no data.
    """
    parts = {}
    for stage in run_data.STAGES:
        rows = run_data.load_stage(run, stage)
        parts[stage] = list(rows["train"]), list(rows["test"])
    shapes = run_data.load_summary(run).get("shapes", {})
    return _from_parts(parts, shapes.get("pretrain") != DOCUMENTS)


def load_from_corpus(options: build.DataOptions) -> HeldOut:
    """Returns the held-out parts of a corpus, as the data of a run with these options have them.

    Raises:
        UserError: the corpus cannot be read, or it has too few poems.
    """
    sets = make_sets(options)
    return _from_parts(sets.rows, sets.shape_of("pretrain") != DOCUMENTS)


def find_held_out(
    corpus: build.DataOptions | None, checkpoints: Sequence[str | Path]
) -> HeldOut | None:
    """Returns the held-out parts of `corpus`, or else of the run of the first checkpoint.

    Without a corpus or a checkpoint, the result is None.

    Raises:
        UserError: the run has no data, or the checkpoints come from runs with different data.
    """
    if corpus is not None:
        return load_from_corpus(corpus)
    if not checkpoints:
        return None
    runs = [stage_folder(checkpoint).parent for checkpoint in checkpoints]
    if not _has_data(runs[0]):
        raise UserError(
            f"there is no folder {runs[0] / 'data'} to measure {checkpoints[0]} on. "
            "Name a corpus with --corpus."
        )
    identity = _data_identity(runs[0])
    for checkpoint, run in zip(checkpoints, runs, strict=True):
        if _has_data(run) and _data_identity(run) != identity:
            raise UserError(
                f"{checkpoints[0]} and {checkpoint} were trained on different data, so a poem "
                "held out from one may have trained the other. Evaluate them in two commands."
            )
    return load_from_run(runs[0])


def read_poems(path: str) -> list[str]:
    """Returns the poems of a corpus file, with or without titles, one couplet per row.

    The rows and the width of the marks in the file do not matter.

    Raises:
        UserError: the file cannot be read, has no poem, or has no marks at the ends of lines.
    """
    corpus = read_corpus(path)
    poems = [poem.text for poem in corpus.poems]
    if corpus.dropped:  # the rates below are shares of the other poems only
        reasons = ", ".join(f"{count} {reason}" for reason, count in corpus.dropped.items())
        print(f"{path}: not judged: {reasons}", file=sys.stderr, flush=True)
    if not any(map(LINE_END.search, poems)):
        raise UserError(
            f"{path}: no line ends in ， or 。 or another mark, so no line can be found. "
            "Add the marks at the ends of lines."
        )
    return [_one_couplet_per_row(poem) for poem in poems]


def stage_folder(checkpoint: str | Path) -> Path:
    """Returns the stage's folder: runs/tang/dpo, also for runs/tang/dpo/checkpoint-100."""
    folder = Path(checkpoint).resolve()
    return folder.parent if re.fullmatch(r"checkpoint-\d+", folder.name) else folder


def _one_couplet_per_row(poem: str) -> str:
    text = "".join(poem.translate(_WIDE_MARKS).split())
    return re.sub("(?<=[。？！；])(?=[^。？！；])", "\n", text)


def _has_data(run: Path) -> bool:
    return (run / "data" / "summary.json").is_file()


def _data_identity(run: Path) -> dict[str, Any]:
    """Returns what decides which poems a run holds out.

    The path of the corpus and the preference of alignment are left out: they change no poem.
    """
    made_from = run_data.load_summary(run)["made_from"]
    left_out = ("corpus", "preference", "preference_code")
    return {key: value for key, value in made_from.items() if key not in left_out}


def _from_parts(parts: dict[str, tuple[list[Row], list[Row]]], has_titles: bool) -> HeldOut:
    """Takes {stage: (training rows, held-out rows)}, and whether texts begin with titles."""
    texts, held_out_texts = parts["pretrain"]
    answers, held_out_answers = parts["sft"]
    pairs, _ = parts["dpo"]
    training = list(training_texts(texts, answers, has_titles))
    training += [content(pair[side]) for pair in pairs for side in ("chosen", "rejected")]
    return HeldOut(
        poems=[
            TitledPoem(content(row["prompt"]), content(row["completion"]))
            for row in held_out_answers
        ],
        text=POEM_SEPARATOR.join(row["text"] for row in held_out_texts),
        training=list(dict.fromkeys(training)),
    )
