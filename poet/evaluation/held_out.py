"""Finds the poems, or other texts, that models are measured on.

It knows run folders and corpora. It does not know models.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from poet.data import build, language, run_data, streamed
from poet.data.kind import Kind, has_titles, kind_of
from poet.data.options import SOURCE_KEYS, DataOptions
from poet.data.poems import read_corpus
from poet.data.rows import Row, content, split_title, training_texts
from poet.data.sets import make_sets
from poet.data.shapes import POEMS, text_of
from poet.errors import UserError
from poet.generation.load import stage_folder
from poet.text import LINE_END
from poet_tokenizer import Message

_WIDE_MARKS = str.maketrans(",.?!;", "，。？！；")


class Answer(NamedTuple):
    """A prompt and its answer, for example a title and its poem."""

    prompt: list[Message]
    text: str

    def asked(self) -> str:
        """Returns the text of the whole prompt."""
        return "\n".join(message["content"] for message in self.prompt)


@dataclass(frozen=True)
class HeldOut:
    """The held-out texts of a corpus, and the texts that the models were trained on.

    Attributes:
        answers: held out from fine-tuning.
        texts: held out from pretraining. A poem begins with its title.
        training: the texts of all training parts, which a model may have copied.
        rows: the training rows of prompts and answers, each as one text.
        kind: the kind of the texts.
    """

    answers: list[Answer]
    texts: list[str]
    training: list[str]
    rows: list[str] = field(default_factory=list)
    kind: Kind = field(default_factory=Kind)
    begin_with_titles: bool = True

    def bodies(self) -> list[str]:
        """Returns the texts of pretraining without their titles."""
        return [split_title(text)[1] if self.begin_with_titles else text for text in self.texts]


def load_from_run(run: Path) -> HeldOut:
    """Returns the held-out parts of a run folder.

    Raises:
        UserError: the run has no data.
    """
    parts = {}
    for stage in run_data.STAGES:
        rows = run_data.load_stage(run, stage)
        parts[stage] = list(rows["train"]), list(rows["test"])
    summary = run_data.load_summary(run)
    return _from_parts(parts, has_titles(summary), kind_of(summary))


def load_from_corpus(options: DataOptions) -> HeldOut:
    """Returns the held-out parts of a corpus, the same as in a run with these options.

    Raises:
        UserError: the corpus cannot be read, or it has too few poems.
    """
    with tempfile.TemporaryDirectory() as folder:
        sets = streamed.open_sets(options) if options.streaming else make_sets(options)
        if options.streaming:
            streamed.write_sets(sets, options, Path(folder))
        parts = {stage: (list(train), list(test)) for stage, (train, test) in sets.rows.items()}
        summary = build.describe_texts(sets, options)
    return _from_parts(parts, has_titles(summary), kind_of(summary))


def find_held_out(corpus: DataOptions | None, checkpoints: Sequence[str | Path]) -> HeldOut | None:
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
                f"{checkpoints[0]} and {checkpoint} were trained on different data. The held-out "
                "poems of one may be training poems of the other. Evaluate them in two commands."
            )
    return load_from_run(runs[0])


def read_poems(path: str) -> tuple[list[str], Kind]:
    """Returns the poems of a file, and their kind. The poems may have titles.

    Chinese poems are returned with one couplet per row. In the file they may have other rows, and
    full-width or half-width marks.

    Raises:
        UserError: the file cannot be read, has no poem, or Chinese poems have no marks.
    """
    corpus = read_corpus(path)
    poems = [poem.text for poem in corpus.poems]
    for reason, count in corpus.dropped.items():  # the rates are shares of the other poems only
        noun = "poem" if count == 1 else "poems"
        print(f"{path}: left out {count} {noun} {reason}", file=sys.stderr, flush=True)
    found = language.detect(poems)
    if found.code != "zh":
        return poems, Kind(POEMS, found.code, found.name, found.script, verse=False)
    if not any(map(LINE_END.search, poems)):
        raise UserError(
            f"{path}: the text has no marks, such as ， or 。, so its lines cannot be found. "
            "Add the marks."
        )
    return [_one_couplet_per_row(poem) for poem in poems], Kind(script=found.script)


def _one_couplet_per_row(poem: str) -> str:
    text = "".join(poem.translate(_WIDE_MARKS).split())
    return re.sub("(?<=[。？！；])(?=[^。？！；])", "\n", text)


def _has_data(run: Path) -> bool:
    return (run / "data" / "summary.json").is_file()


def _data_identity(run: Path) -> dict[str, Any]:
    """Returns the options and facts that determine the held-out poems of a run.

    The paths of the texts and the preference of alignment are left out: they change no poem.
    """
    made_from = run_data.load_summary(run)["made_from"]
    left_out = (*SOURCE_KEYS, "preference", "preference_code")
    return {key: value for key, value in made_from.items() if key not in left_out}


def _from_parts(
    parts: dict[str, tuple[list[Row], list[Row]]], begin_with_titles: bool, kind: Kind
) -> HeldOut:
    """Returns the held-out parts.

    Args:
        parts: {stage: (training rows, held-out rows)}.
        begin_with_titles: whether the texts of pretraining do.
        kind: the kind of the texts.
    """
    texts, held_out_texts = parts["pretrain"]
    answers, held_out_answers = parts["sft"]
    pairs, _ = parts["dpo"]
    training = list(training_texts(texts, answers, begin_with_titles))
    training += [content(pair[side]) for pair in pairs for side in ("chosen", "rejected")]
    return HeldOut(
        answers=[Answer(row["prompt"], content(row["completion"])) for row in held_out_answers],
        texts=[row["text"] for row in held_out_texts],
        training=list(dict.fromkeys(training)),
        rows=[row["text"] for row in texts] + [text_of(row) for row in (*answers, *pairs)],
        kind=kind,
        begin_with_titles=begin_with_titles,
    )
