"""Reads the data of a run.

    RUN/data/pretrain/{train,test}.parquet   text                          (or train-00.parquet, …)
    RUN/data/sft/{train,test}.parquet        prompt, completion            (conversational)
    RUN/data/dpo/{train,test}.parquet        prompt, chosen, rejected      (conversational)
    RUN/data/summary.json                    options, fingerprint of the corpus, figures

It knows the folder of a run. It does not know training. build.py makes the data.
"""

import glob
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poet.data.kind import has_titles
from poet.data.poems import Poem
from poet.data.rows import Row, content, training_texts
from poet.errors import UserError
from poet_tokenizer import DEFAULT_INSTRUCTION, build_tokenizer

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerFast

STAGES = ("pretrain", "sft", "dpo")
HALVES = ("train", "test")
_SAMPLE_START = 24  # characters


def load_summary(output_dir: str | Path) -> dict[str, Any]:
    """Returns the summary that `build_datasets` wrote.

    Raises:
        UserError: There is none, or it is broken.
    """
    path = Path(output_dir) / "data" / "summary.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"no data in {output_dir}. {_how_to_make(output_dir)}") from error
    except ValueError as error:
        raise UserError(
            f"{path} is broken ({error}). Remove {path.parent}. {_how_to_make(output_dir)}"
        ) from error


def _how_to_make(run: str | Path) -> str:
    return f"Run `python run.py --recipe RECIPE --stages data --output_dir {run}`."


def left_out(output_dir: str | Path) -> dict[str, str]:
    """Returns the stages without data and the reason for each."""
    return load_summary(output_dir).get("left_out", {})


def load_stage(
    output_dir: str | Path, stage: str, streaming: bool = False
) -> "datasets.DatasetDict | datasets.IterableDatasetDict":
    """Returns the rows of a stage as `train` and `test`.

    The cache of `datasets` is not used. It could return the rows of an older run, and two
    processes could write to it at once.

    Args:
        streaming: Reads the rows from the files while they are used, instead of all at once.
    """
    import datasets
    import pyarrow.parquet

    load_summary(output_dir)  # fails with advice if there are no data
    folder = Path(output_dir) / "data"
    files = {name: sorted((folder / stage).glob(f"{name}*.parquet")) for name in HALVES}
    with _refuse_broken(folder / stage):
        if streaming:  # `datasets` takes the names of files as patterns
            patterns = {name: [glob.escape(str(p)) for p in paths] for name, paths in files.items()}
            return datasets.load_dataset("parquet", data_files=patterns, streaming=True)
        tables = {
            name: pyarrow.concat_tables(map(pyarrow.parquet.read_table, paths))
            for name, paths in files.items()
        }
    return datasets.DatasetDict({name: datasets.Dataset(table) for name, table in tables.items()})


@contextmanager
def _refuse_broken(folder: Path) -> Iterator[None]:
    """Turns the error of a broken file of a stage into a UserError."""
    import pyarrow

    try:
        yield
    except (OSError, pyarrow.ArrowException) as error:
        data = folder.parent
        raise UserError(
            f"{folder} is broken ({error}). Remove {data}. {_how_to_make(data.parent)}"
        ) from error


def training_poems(output_dir: str | Path) -> Iterator[Poem]:
    """Yields the poems of the run that pretraining and fine-tuning train on, without titles."""
    texts, answers = (load_stage(output_dir, stage)["train"] for stage in ("pretrain", "sft"))
    for text in training_texts(texts, answers, has_titles(load_summary(output_dir))):
        yield Poem("", tuple(text.split("\n")))


def characters(output_dir: str | Path) -> list[str]:
    """Returns every character of the three sets, sorted: the vocabulary of the tokenizer."""
    import pyarrow
    import pyarrow.compute as pc
    import pyarrow.parquet

    load_summary(output_dir)  # fails with advice if there are no data
    seen: set[str] = set()
    for path in sorted((Path(output_dir) / "data").glob("*/*.parquet")):
        with _refuse_broken(path.parent):
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=10_000):
                for column in batch.columns:
                    is_text = pyarrow.types.is_string(column.type)
                    texts = (
                        column if is_text else pc.struct_field(pc.list_flatten(column), "content")
                    )
                    seen.update(*texts.to_pylist())
    return sorted(seen)


def first_rows(output_dir: str | Path, stage: str, half: str, count: int) -> list[Row]:
    """Returns up to `count` rows. It reads no more of the files than that."""
    from poet.data.parquet import ParquetRows

    return list(itertools.islice(ParquetRows(Path(output_dir) / "data" / stage, half), count))


def make_tokenizer(output_dir: str | Path, n_positions: int) -> "PreTrainedTokenizerFast":
    """Returns a new tokenizer with the characters and the instruction of the run."""
    instruction = load_summary(output_dir).get("instruction", DEFAULT_INSTRUCTION)
    return build_tokenizer(characters(output_dir), n_positions, instruction)


def sample_title(output_dir: str | Path) -> str:
    """Returns the held-out prompt for which training shows samples: the first short one.

    Without prompts it is the start of a held-out text.
    """
    titles = [content(row["prompt"]) for row in first_rows(output_dir, "sft", "test", 10_000)]
    if not titles:
        text = first_rows(output_dir, "pretrain", "test", 1)[0]["text"]
        return text[:_SAMPLE_START].strip() or text
    return next((title for title in titles if 2 <= len(title) <= 8), min(titles, key=len))
