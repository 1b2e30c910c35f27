"""Makes the data of a run: from options to three data sets in Parquet files.

run_data.py lists and reads the files. This module does not know tokens or training.
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poet.data import preferences
from poet.data.poems import Corpus, Poem, Split, part_ends, read_corpus, split_poems
from poet.data.rows import (
    Pair,
    Row,
    dpo_row,
    hold_out,
    pair_poems,
    pretraining_rows,
    pretraining_text,
    sft_row,
)
from poet.data.run_data import STAGES, load_summary
from poet.errors import UserError
from poet.extension import describe
from poet.files import lock, refuse_another, refuse_disk_errors, replacing_folder

if TYPE_CHECKING:
    pass


@dataclass
class DataOptions:
    """Options of the data. The defaults are those of the original tutorial."""

    corpus: str = field(
        metadata={
            "help": "sample, tang, song or tang+song. Or a folder, a file (.json, .jsonl, .csv, "
            ".tsv, .parquet, .txt, .md), or the id of a data set on the Hub (owner/name)."
        }
    )
    preference: str = field(
        default="five-character",
        metadata={
            "help": "The poems that alignment prefers: a name in poet/data/preferences.py, "
            "or module:function."
        },
    )
    seed: int = field(
        default=2024, metadata={"help": "Seed of the shuffle and of the rejected poems."}
    )
    split: list[int] = field(
        default_factory=lambda: [5, 3, 2],
        metadata={"help": "Ratio of the poems for pretraining, fine-tuning and alignment."},
    )
    held_out: float = field(
        default=0.1,
        metadata={"help": "Share at the end of each set that is only evaluated on."},
    )
    min_couplets: int = field(
        default=2, metadata={"help": "Drop poems with fewer couplets: one alone is a fragment."}
    )
    equal_couplets: bool = field(
        default=True,
        metadata={"help": "Drop poems whose couplets differ in length, such as songs."},
    )
    forbidden: str = field(
        default="□(（",
        metadata={"help": "Drop poems with one of these characters: a lost character or a note."},
    )
    copies_together: bool | None = field(
        default=None,
        metadata={
            "help": "Keep copies of a poem in one part. Default: true, except for the Tang files "
            "of the original tutorial, which does not."
        },
    )
    title_column: str | None = field(
        default=None, metadata={"help": "Column of the titles, if its name is unusual."}
    )
    lines_column: str | None = field(
        default=None, metadata={"help": "Column of the poems, if its name is unusual."}
    )
    author_column: str | None = field(
        default=None, metadata={"help": "Column of the authors, if its name is unusual."}
    )

    def __post_init__(self) -> None:
        self.forbidden = self.forbidden or ""  # YAML reads an empty value as None
        if not isinstance(self.split, list) or len(self.split) != 3 or min(self.split) < 1:
            raise UserError(f"split is {self.split}. Give three whole numbers above 0, like 5 3 2.")
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is {self.held_out}. Give a share between 0 and 1, like 0.1.")
        preferences.check_name(self.preference)

    @property
    def columns(self) -> dict[str, str | None]:
        return {
            "title": self.title_column,
            "lines": self.lines_column,
            "author": self.author_column,
        }


# -------------------------------------------------------------------------- options -> three parts


def read_and_split(options: DataOptions) -> tuple[Corpus, Split]:
    """Returns the usable poems of the corpus and their three parts.

    Raises:
        UserError: The poems are too few for three stages, or `read_corpus` fails.
    """
    corpus = read_corpus(
        options.corpus,
        options.columns,
        options.min_couplets,
        options.equal_couplets,
        options.forbidden,
    )
    copies_together = options.copies_together
    if copies_together is None:
        copies_together = _fingerprint(options.corpus) != _fingerprint("tang")
    split = split_poems(corpus.poems, options.seed, options.split, copies_together)
    if not _are_enough([len(part) for part in split.parts]):
        sizes = ((n, _sizes(part_ends(n, options.split))) for n in itertools.count(1))
        needed = next(n for n, parts in sizes if _are_enough(parts))
        raise UserError(
            f"{options.corpus}: {len(corpus.poems)} usable poems are too few for three stages. "
            f"At least {needed} different ones are needed."
        )
    return corpus, split


def _fingerprint(source: str) -> str:
    from poet.data.sources import fingerprint

    return fingerprint(source)


def _are_enough(sizes: Sequence[int]) -> bool:
    """Returns whether each set can train on one row and hold out one.

    The text of one poem can be cut in two. Two pairs need two preferred poems and one other.
    """
    pretrain, sft, dpo = sizes
    return pretrain >= 1 and sft >= 2 and dpo >= 3


def _sizes(ends: Sequence[int]) -> list[int]:
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


# -------------------------------------------------------------------------- options -> run folder


def build_datasets(options: DataOptions, output_dir: str | Path) -> dict[str, Any]:
    """Writes the folder `output_dir`/data and returns its summary.

    The folder is written as a whole or not at all. If it exists already, only the summary is read.

    Raises:
        UserError: The folder holds the data of other options or of another corpus.
    """
    folder = Path(output_dir) / "data"
    made_from = {**asdict(options), "fingerprint": _fingerprint(options.corpus)}
    summary = load_summary(output_dir) if (folder / "summary.json").exists() else {}
    own_preference = _own_preference(options.preference, summary)
    if own_preference:
        made_from["preference_code"] = own_preference["code"]
    if summary:
        refuse_another(folder, _without_path(summary["made_from"]), _without_path(made_from))
        return summary
    if folder.exists() and (foreign := {path.name for path in folder.iterdir()} - set(STAGES)):
        raise UserError(
            f"{folder} holds {min(foreign)}, which this project did not make. "
            "Pass another --output_dir."
        )

    corpus, split = read_and_split(options)
    text = pretraining_text(split.pretrain)
    prefers = preferences.get(options.preference, [*split.pretrain, *split.sft])
    all_pairs = pair_poems(split, prefers)
    # A pair of equal texts teaches nothing: its loss stays at ln 2.
    pairs = [(chosen, rejected) for chosen, rejected in all_pairs if chosen.text != rejected.text]
    if len(pairs) < 2:
        raise UserError(
            f"{options.corpus}: alignment needs 2 pairs of different poems and has {len(pairs)}. "
            "Add poems."
        )

    sets = {
        "pretrain": pretraining_rows(text, options.held_out),
        "sft": hold_out([sft_row(poem) for poem in split.sft], options.held_out),
        "dpo": hold_out([dpo_row(pair) for pair in pairs], options.held_out),
    }
    summary = {
        "made_from": made_from,
        "own_preference": own_preference,
        "read": corpus.read,
        "kept": len(corpus.poems),
        "dropped": corpus.dropped,
        "copies": split.copies(),
        "parts": {stage: len(part) for stage, part in zip(STAGES, split.parts, strict=True)},
        "rows": {
            stage: {"train": len(train), "test": len(test)} for stage, (train, test) in sets.items()
        },
        "pretrain_characters": len(text),
        "sft_items": len(split.sft),
        "dpo_pairs": len(pairs),
        "identical_pairs": len(all_pairs) - len(pairs),
        **_count_characters(text, split.sft, pairs),
        "pretrain_head": text[:100],
        "first_item": split.sft[0].title,
        "first_pair": [poem.title for poem in pairs[0]],
    }
    lock(folder)
    if (folder / "summary.json").exists():  # another command was faster
        return build_datasets(options, output_dir)
    with refuse_disk_errors(folder):
        _write(sets, summary, folder)
    return summary


def _own_preference(name: str, earlier: dict[str, Any]) -> dict[str, str]:
    """Returns the code and the folder of a function `module:function`.

    Data that were made before need no function. Their record stands where it is not found.

    Args:
        earlier: The summary of data that were made before, or {}.
    """
    is_built_in = name in preferences.PREFERENCES
    if is_built_in or (earlier and not earlier.get("own_preference")):
        return {}
    recorded = earlier.get("own_preference", {})
    try:
        return describe(name, "preference", recorded.get("folder"))
    except UserError:
        if not earlier:
            raise
        return recorded


def _without_path(made_from: dict[str, Any]) -> dict[str, Any]:
    """Leaves the corpus to its fingerprint: a copy of the files is the same corpus."""
    return {key: value for key, value in made_from.items() if key != "corpus"}


def _count_characters(text: str, poems: Sequence[Poem], pairs: Sequence[Pair]) -> dict[str, int]:
    """Counts the characters of all sets as the original tutorial does.

    The tutorial's tags are plain characters. It counts its single end mark as one more.
    """
    texts = [text, *(_tutorial_text(poem) for poem in itertools.chain(poems, *pairs))]
    return {
        "characters": sum(map(len, texts)) + 1,
        "distinct_characters": len(set().union(*texts)) + 1,
    }


def _tutorial_text(poem: Poem) -> str:
    return f"<INS>請用以下題目寫一首詩<INP>{poem.title}<RES>{poem.text}"


def _write(
    sets: dict[str, tuple[list[Row], list[Row]]], summary: dict[str, Any], folder: Path
) -> None:
    """Writes to another folder and renames it last, so that a killed run leaves no half of it."""
    import datasets
    import pyarrow.parquet

    messages = [{"role": datasets.Value("string"), "content": datasets.Value("string")}]
    columns = {
        "pretrain": {"text": datasets.Value("string")},
        "sft": {"prompt": messages, "completion": messages},
        "dpo": {"prompt": messages, "chosen": messages, "rejected": messages},
    }
    with replacing_folder(folder) as partial:
        for stage, (train, test) in sets.items():
            features = datasets.Features(columns[stage])
            (partial / stage).mkdir()
            for name, rows in (("train", train), ("test", test)):
                table = datasets.Dataset.from_list(rows, features=features).data.table
                # Streaming holds one group of rows in memory at a time.
                pyarrow.parquet.write_table(
                    table, partial / stage / f"{name}.parquet", row_group_size=10_000
                )
        text = json.dumps(summary, ensure_ascii=False, indent=1)
        (partial / "summary.json").write_text(text + "\n", encoding="utf-8")


# ----------------------------------------------------------------------------- run folder -> rows


def format_summary(summary: dict[str, Any]) -> str:
    """Returns the figures as the first stage prints them."""
    parts, rows, copies = summary["parts"], summary["rows"], summary["copies"]
    dropped = [f"    {count:>9,} {reason}" for reason, count in summary["dropped"].items()]
    identical = (
        f" ({summary['identical_pairs']:,} identical ones dropped)"
        if summary["identical_pairs"]
        else ""
    )
    sizes = ", ".join(
        f"{stage} {rows[stage]['train']:,} + {rows[stage]['test']:,}" for stage in STAGES
    )
    source = summary["made_from"]["corpus"]
    first_pair = " against ".join(summary["first_pair"])
    return "\n".join(
        [
            f"{source}: {summary['read']:,} poems read, {summary['kept']:,} kept. Dropped:",
            *(dropped or ["    none"]),
            f"{copies['poems']:,} poems have a copy, {copies['across_parts']:,} in another part.",
            f"Split: {parts['pretrain']:,} to pretrain, {parts['sft']:,} to fine-tune, "
            f"{parts['dpo']:,} to align.",
            f"  fine-tuning   {summary['sft_items']:,} poems, the first {summary['first_item']}",
            f"  alignment     {summary['dpo_pairs']:,} pairs{identical}, the first {first_pair}",
            f"  all text      {summary['characters']:,} characters, "
            f"{summary['distinct_characters']:,} distinct",
            f"  pretraining   {summary['pretrain_characters']:,} characters, which begin",
            *(f"    {line}" for line in summary["pretrain_head"].splitlines()),
            f"Rows to train on + held out: {sizes}.",
        ]
    )
