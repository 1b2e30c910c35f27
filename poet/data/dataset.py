"""Poems -> the three data sets of a run, as `datasets` objects in Parquet files with their figures beside them.

    OUTPUT/data/pretrain/{train,test}.parquet   text
    OUTPUT/data/sft/{train,test}.parquet        prompt, completion               (conversational)
    OUTPUT/data/dpo/{train,test}.parquet        prompt, chosen, rejected         (conversational)
    OUTPUT/data/summary.json                    arguments, fingerprint of the corpus, figures

Knows the tutorial's recipe for each set; knows nothing of tokens and of training.
"""

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from poet.data import preferences
from poet.data.corpus import Corpus, Poem, Split, fingerprint, part_ends, read_corpus, split_poems
from poet.errors import UserError
from poet_tokenizer import Message, ask

if TYPE_CHECKING:
    import datasets

STAGES = ("pretrain", "sft", "dpo")
Items = TypeVar("Items", str, list[Any])
Row = dict[str, Any]
Pair = tuple[Poem, Poem]  # chosen, rejected


@dataclass
class DataArguments:
    """Which poems, and how they become the three sets. The numbers are in configs/<recipe>/data.yaml."""

    corpus: str = field(
        metadata={
            "help": "sample, tang, song, tang+song; a folder or a file (.json, .jsonl, .csv, .tsv, .parquet, .txt); "
            "or the id of a data set on the Hub (owner/name)"
        }
    )
    seed: int = field(
        metadata={
            "help": "of the generator that shuffles the poems and then draws the rejected ones"
        }
    )
    split: list[int] = field(
        metadata={"help": "poems for pretraining, fine-tuning and alignment, as a ratio"}
    )
    held_out: float = field(
        metadata={"help": "the share of each set, its end, that evaluates and never trains"}
    )
    min_couplets: int = field(metadata={"help": "poems with fewer lines are dropped"})
    equal_couplets: bool = field(metadata={"help": "drop poems whose lines differ in length"})
    forbidden: str = field(
        metadata={"help": "poems with one of these characters in title or lines are dropped"}
    )
    preference: str = field(
        metadata={
            "help": "what alignment prefers: a name of poet/data/preferences.py, or module:function"
        }
    )
    copies_together: bool | None = field(
        default=None,
        metadata={
            "help": "keep poems of one text in one part; unset: unless the corpus is the tutorial's own Tang files, "
            "whose split lets copies fall where they fall"
        },
    )
    title_column: str | None = field(
        default=None, metadata={"help": "the column of the titles, if its name is unusual"}
    )
    lines_column: str | None = field(
        default=None, metadata={"help": "the column of the lines, if its name is unusual"}
    )
    author_column: str | None = field(
        default=None, metadata={"help": "the column of the authors, likewise"}
    )

    def __post_init__(self) -> None:
        self.forbidden = self.forbidden or ""  # an empty key of a YAML file is None
        if not isinstance(self.split, list) or len(self.split) != 3 or min(self.split) < 1:
            raise UserError(f"split is {self.split}: give three whole numbers above 0, like 5 3 2")
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is {self.held_out}: give a share between 0 and 1, like 0.1")
        preferences.get(self.preference)

    @property
    def columns(self) -> dict[str, str | None]:
        return {
            "title": self.title_column,
            "lines": self.lines_column,
            "author": self.author_column,
        }


def read_and_split(args: DataArguments) -> tuple[Corpus, Split]:
    """The clean poems of the corpus and their three parts; a UserError where they are too few to train and evaluate."""
    corpus = read_corpus(
        args.corpus, args.columns, args.min_couplets, args.equal_couplets, args.forbidden
    )
    together = args.copies_together
    if together is None:
        together = fingerprint(args.corpus) != fingerprint("tang")
    split = split_poems(corpus.poems, args.seed, args.split, together)
    if not _enough(*map(len, split.parts)):
        needed = next(n for n in itertools.count(1) if _enough(*_sizes(part_ends(n, args.split))))
        raise UserError(
            f"{args.corpus}: {len(corpus.poems)} usable poems are too few to train and evaluate three stages; "
            f"at least {needed} different ones are needed"
        )
    return corpus, split


def _enough(pretrain: int, sft: int, dpo: int) -> bool:
    """Two items of each set, one to train and one to evaluate; a pair needs a poem to reject besides."""
    return pretrain >= 1 and sft >= 2 and dpo >= 3


def _sizes(ends: Sequence[int]) -> list[int]:
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]


# -------------------------------------------------------------------------------------------- poems -> rows


def pretraining_text(poems: Sequence[Poem]) -> str:
    """`title\\nline\\nline…` of every poem, a blank line between two."""
    return "\n\n".join(f"{poem.title}\n{poem.text}" for poem in poems)


def pretraining_rows(text: str, held_out: float) -> tuple[list[Row], list[Row]]:
    """The text cut in two by character, each part as rows of one poem: "\\n\\n".join(rows) is the part again, exactly.

    The poem at the cut is in both, its beginning in the first and its end in the second.
    """
    train, test = hold_out(text, held_out)
    return [{"text": row} for row in train.split("\n\n")], [
        {"text": row} for row in test.split("\n\n")
    ]


def sft_row(poem: Poem, instruction: str | None = None) -> Row:
    return {"prompt": ask(poem.title, instruction), "completion": [_assistant(poem.text)]}


def pair_poems(split: Split, prefers: preferences.Predicate) -> list[Pair]:
    """Each preferred poem of the alignment part, in order, against a random one of the others of that part.

    The draws go on with the generator that shuffled the corpus, as the tutorial's do.
    """
    chosen: list[Poem] = []
    others: list[Poem] = []
    for poem in split.dpo:
        (chosen if prefers(poem) else others).append(poem)
    if len(chosen) < 2 or not others:
        raise UserError(
            f"alignment needs 2 preferred poems and 1 other, and its part of {len(split.dpo)} has {len(chosen)} and "
            f"{len(others)}; add poems or choose another --preference: {', '.join(preferences.PREFERENCES)}"
        )
    return [(poem, split.rng.choice(others)) for poem in chosen]


def dpo_row(pair: Pair) -> Row:
    """Both sides answer the chosen poem's title.

    The tutorial pairs the same two poems, but its rejected side carries the rejected poem's own title: the sides
    answer different prompts, and the difference of their log-probabilities is not a preference. The pairing is kept,
    the prompt is mended.
    """
    chosen, rejected = pair
    return {
        "prompt": ask(chosen.title),
        "chosen": [_assistant(chosen.text)],
        "rejected": [_assistant(rejected.text)],
    }


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def hold_out(items: Items, share: float) -> tuple[Items, Items]:
    """(those that train, those that evaluate: the last `share`); neither is empty where there are two items."""
    cut = min(max(int((1 - share) * len(items)), 1), len(items) - 1)
    return items[:cut], items[cut:]


# ------------------------------------------------------------------------------------------ rows -> a run folder


def build_datasets(args: DataArguments, output_dir: str | Path) -> dict[str, Any]:
    """Writes `output_dir`/data, as a whole or not at all, and returns its summary; skips what stands there already.

    Raises a UserError where the folder holds the data of other arguments or of another corpus.
    """
    folder = Path(output_dir) / "data"
    made_from = {**asdict(args), "fingerprint": fingerprint(args.corpus)}
    if (folder / "summary.json").exists():
        summary = load_summary(output_dir)
        _refuse_another_run(summary["made_from"], made_from, folder)
        return summary
    if folder.exists() and (foreign := {path.name for path in folder.iterdir()} - set(STAGES)):
        raise UserError(
            f"{folder} holds {min(foreign)}, which is not of this project; choose another --output_dir"
        )

    corpus, split = read_and_split(args)
    text = pretraining_text(split.pretrain)
    drawn = pair_poems(split, preferences.get(args.preference, [*split.pretrain, *split.sft]))
    pairs = [
        pair for pair in drawn if pair[0].text != pair[1].text
    ]  # equal sides teach nothing: their loss stays ln 2
    if len(pairs) < 2:
        raise UserError(
            f"{args.corpus}: alignment needs 2 pairs of different poems and has {len(pairs)}; add poems"
        )

    sets = {
        "pretrain": pretraining_rows(text, args.held_out),
        "sft": hold_out([sft_row(poem) for poem in split.sft], args.held_out),
        "dpo": hold_out([dpo_row(pair) for pair in pairs], args.held_out),
    }
    summary = {
        "made_from": made_from,
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
        "identical_pairs": len(drawn) - len(pairs),
        **_count_characters(text, split.sft, pairs),
        "pretrain_head": text[:100],
        "first_item": split.sft[0].title,
        "first_pair": [poem.title for poem in pairs[0]],
    }
    try:
        _write(sets, summary, folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    return summary


def _count_characters(text: str, items: Sequence[Poem], pairs: Sequence[Pair]) -> dict[str, int]:
    """All text as the tutorial forms it, its tags as plain characters, and its one end mark counted as one more."""
    parts = [text, *(_tutorial_form(poem) for poem in itertools.chain(items, *pairs))]
    return {
        "characters": sum(map(len, parts)) + 1,
        "distinct_characters": len(set().union(*parts)) + 1,
    }


def _tutorial_form(poem: Poem) -> str:
    return f"<INS>請用以下題目寫一首詩<INP>{poem.title}<RES>{poem.text}"


def _refuse_another_run(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    # The corpus is compared by its fingerprint: a copy of the same files elsewhere is the same corpus.
    other = [key for key in new if key != "corpus" and old.get(key) != new[key]]
    if other:
        differences = ", ".join(f"{key} {old.get(key)} there, {new[key]} here" for key in other)
        raise UserError(f"{folder} holds another run ({differences}); choose another --output_dir")


def _write(
    sets: dict[str, tuple[list[Row], list[Row]]], summary: dict[str, Any], folder: Path
) -> None:
    """Into a folder beside, which takes its name last: a run that is killed leaves no half of the data behind."""
    import datasets
    import pyarrow.parquet

    messages = [{"role": datasets.Value("string"), "content": datasets.Value("string")}]
    columns = {
        "pretrain": {"text": datasets.Value("string")},
        "sft": {"prompt": messages, "completion": messages},
        "dpo": {"prompt": messages, "chosen": messages, "rejected": messages},
    }
    partial = folder.with_name("data.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for stage, halves in sets.items():
        (partial / stage).mkdir(parents=True)
        for name, rows in zip(("train", "test"), halves, strict=True):
            table = datasets.Dataset.from_list(
                rows, features=datasets.Features(columns[stage])
            ).data.table
            # Groups of rows are what streaming holds in memory at a time.
            pyarrow.parquet.write_table(
                table, partial / stage / f"{name}.parquet", row_group_size=10_000
            )
    (partial / "summary.json").write_text(
        json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


# ------------------------------------------------------------------------------------------- a run folder -> rows


def load_summary(output_dir: str | Path) -> dict[str, Any]:
    """The figures that `build_datasets` wrote; a UserError that names the command where there are none."""
    path = Path(output_dir) / "data" / "summary.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"no data in {output_dir}: run `python run.py --recipe R --stages data --output_dir {output_dir}`"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path} is broken ({error}); remove {path.parent} and make it again"
        ) from error


def load_stage(
    output_dir: str | Path, stage: str, streaming: bool = False
) -> "datasets.DatasetDict | datasets.IterableDatasetDict":
    """`train` and `test` of a stage: in memory or, `streaming`, read from the files as they are used.

    Neither goes through the cache of `datasets`, where an older run's rows could come back and two processes race.
    """
    import datasets
    import pyarrow.parquet

    load_summary(output_dir)
    files = {
        name: str(Path(output_dir) / "data" / stage / f"{name}.parquet")
        for name in ("train", "test")
    }
    try:
        if streaming:
            return datasets.load_dataset("parquet", data_files=files, streaming=True)
        tables = {name: pyarrow.parquet.read_table(path) for name, path in files.items()}
    except (OSError, pyarrow.ArrowException) as error:
        folder = Path(output_dir) / "data"
        raise UserError(
            f"{folder}/{stage} is broken ({error}); remove {folder} and make it again"
        ) from error
    return datasets.DatasetDict({name: datasets.Dataset(table) for name, table in tables.items()})


def training_poems(output_dir: str | Path) -> Iterator[Poem]:
    """The poems that pretraining and fine-tuning learn from, without their titles."""
    rows = (load_stage(output_dir, stage)["train"] for stage in ("pretrain", "sft"))
    return (Poem("", tuple(text.split("\n"))) for text in learned_texts(*rows))


def learned_texts(texts: Iterable[Row], answers: Iterable[Row]) -> Iterator[str]:
    """Rows of pretraining and of fine-tuning -> the poems in them, without their titles."""
    yield from (row["text"].partition("\n")[2] for row in texts)
    yield from (row["completion"][0]["content"] for row in answers)


def characters(output_dir: str | Path) -> list[str]:
    """Every character of the three sets, sorted: what a tokenizer has to know."""
    import pyarrow
    import pyarrow.compute as pc

    found: set[str] = set()
    for stage in STAGES:
        for rows in load_stage(output_dir, stage).values():
            for column in rows.data.table.columns:
                texts = (
                    column
                    if pyarrow.types.is_string(column.type)
                    else pc.struct_field(pc.list_flatten(column), "content")
                )
                found.update(*texts.to_pylist())
    return sorted(found)


def format_summary(summary: dict[str, Any]) -> str:
    """The figures as the first stage tells them."""
    parts, rows, copies = summary["parts"], summary["rows"], summary["copies"]
    dropped = [f"    {count:>9,} {reason}" for reason, count in summary["dropped"].items()]
    identical = (
        f" ({summary['identical_pairs']:,} identical ones dropped)"
        if summary["identical_pairs"]
        else ""
    )
    evaluated = ", ".join(
        f"{rows[stage]['train']:,} + {rows[stage]['test']:,} {stage}" for stage in STAGES
    )
    source = summary["made_from"]["corpus"]
    first_pair = " against ".join(summary["first_pair"])
    return "\n".join(
        [
            f"{source}: {summary['read']:,} poems read, {summary['kept']:,} kept; dropped:",
            *(dropped or ["    none"]),
            f"{copies['poems']:,} poems are copies of another, {copies['across_parts']:,} of one in another part.",
            f"Split: {parts['pretrain']:,} to pretrain, {parts['sft']:,} to fine-tune, {parts['dpo']:,} to align.",
            f"  fine-tuning   {summary['sft_items']:,} items, the first {summary['first_item']}",
            f"  alignment     {summary['dpo_pairs']:,} pairs{identical}, the first {first_pair}",
            f"  all text      {summary['characters']:,} characters, {summary['distinct_characters']:,} distinct",
            f"  pretraining   {summary['pretrain_characters']:,} characters, which begin",
            *(f"    {line}" for line in summary["pretrain_head"].splitlines()),
            f"Rows that train + evaluate: {evaluated}.",
        ]
    )
