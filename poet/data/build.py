"""Makes the data of a run: from options to three data sets in Parquet files.

run_data.py lists and reads the files. This module does not know tokens or training.
"""

import hashlib
import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from poet.data import language, streamed
from poet.data.options import SOURCE_KEYS, DataOptions
from poet.data.parquet import write_rows
from poet.data.poems import Poem
from poet.data.rows import content, split_title
from poet.data.run_data import HALVES, STAGES, load_summary
from poet.data.sets import Sets, make_sets
from poet.data.shapes import POEMS
from poet.errors import UserError, shorten
from poet.extension import describe
from poet.files import lock, refuse_changes, refuse_disk_errors, refuse_foreign, replacing_folder
from poet.text import visible

_JUDGED = 1000  # rows that decide whether the texts are verse


# -------------------------------------------------------------------------- options -> run folder


def build_datasets(options: DataOptions, output_dir: str | Path) -> dict[str, Any]:
    """Writes the folder `output_dir`/data and returns its summary.

    The folder is written as a whole or not at all. If it exists already, only the summary is read.

    Raises:
        UserError: The folder holds the data of other options or of another corpus.
    """
    folder = Path(output_dir) / "data"
    made_from = {**asdict(options), **DataOptions.removed, "fingerprint": fingerprint_of(options)}
    summary = load_summary(output_dir) if (folder / "summary.json").exists() else {}
    own_preference = _own_preference(options.preference, summary)
    if own_preference:
        made_from["preference_code"] = own_preference["code"]
    if summary:
        # Older data do not know all options.
        defaults = {**asdict(DataOptions("sample")), **DataOptions.removed}
        there = {**defaults, **summary["made_from"]}
        refuse_changes(folder, _without_path(there), _without_path(made_from))
        return summary
    if folder.exists():
        refuse_foreign(folder, [p.name for p in folder.iterdir() if p.name not in STAGES])

    # Bad texts are refused before anything is written. Of streamed ones, only the first are read.
    sets = streamed.open_sets(options) if options.streaming else make_sets(options)
    lock(folder)
    if (folder / "summary.json").exists():  # another command was faster
        return build_datasets(options, output_dir)
    with refuse_disk_errors(folder), replacing_folder(folder) as partial:
        if options.streaming:
            streamed.write_sets(sets, options, partial)
        else:
            write_sets(sets, partial)
        summary = {"made_from": made_from, "own_preference": own_preference}
        summary |= _summary(sets, options)
        text = json.dumps(summary, ensure_ascii=False, indent=1)
        (partial / "summary.json").write_text(text + "\n", encoding="utf-8")
    return summary


def fingerprint_of(options: DataOptions) -> str:
    """Returns a SHA-256 sum of the files of all sources. It does not depend on their paths."""
    from poet.data.sources import fingerprint

    sums = {key: fingerprint(name) for key, name in options.sources().items()}
    if list(sums) == ["corpus"]:
        return sums["corpus"]
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def _own_preference(name: str | None, earlier: dict[str, Any]) -> dict[str, str]:
    """Returns the checksum and the folder of a function `module:function`.

    Data that exist already do not need the function. If it is not found, this returns what their
    summary recorded.

    Args:
        earlier: The summary of data that were made before, or {}.
    """
    if not name or ":" not in name or (earlier and not earlier.get("own_preference")):
        return {}
    recorded = earlier.get("own_preference", {})
    try:
        return describe(name, "preference", recorded.get("folder"))
    except UserError:
        if not earlier:
            raise
        return recorded


def _without_path(made_from: dict[str, Any]) -> dict[str, Any]:
    """Leaves out the paths of the sources: a copy of the files has the same fingerprint."""
    return {key: value for key, value in made_from.items() if key not in SOURCE_KEYS}


def _summary(sets: Sets, options: DataOptions) -> dict[str, Any]:
    """Returns the figures about the sets, and what later stages need to know about the texts."""
    sources = list(sets.sources.values())
    dropped: dict[str, int] = {}
    for source in sources:
        for reason, count in source.dropped.most_common():
            dropped[reason] = dropped.get(reason, 0) + count
    parts = {
        stage: len(sets.split.parts[i]) if sets.split and sets.ratio[i] else sum(map(len, rows))
        for i, (stage, rows) in enumerate(sets.rows.items())
    }
    pretraining = sets.rows["pretrain"]
    gaps = sum(map(len, pretraining)) - (2 if sets.split else 1)  # a split cuts inside a poem
    length = sum(len(row["text"]) for rows in pretraining for row in rows) + 2 * gaps
    head = "\n\n".join(row["text"] for row in itertools.islice(pretraining[0], 100))[:100]
    described = describe_texts(sets, options)
    found = described["language"]
    instruction = options.instruction
    if instruction is None:
        has_titles = described["shapes"].get("sft") == POEMS
        of_language = language.Language(found["code"], found["script"])
        instruction = language.instruction_for(of_language) if has_titles else ""
    first = {stage: next(iter(rows[0]), None) for stage, rows in sets.rows.items()}
    return {
        "read": sum(len(source.items) + source.dropped.total() for source in sources),
        "kept": sum(len(source.items) for source in sources),
        "dropped": dropped,
        "notes": list(dict.fromkeys(note for source in sources for note in source.found.notes())),
        **described,
        "left_out": sets.left_out,
        "instruction": instruction,
        "preference": sets.preference,
        "split": list(sets.ratio),
        "copies": sets.split.copies() if sets.split else None,
        "parts": parts,
        "rows": {
            stage: {"train": len(train), "test": len(test)}
            for stage, (train, test) in sets.rows.items()
        },
        "pretrain_characters": length,
        "sft_items": sum(map(len, sets.rows["sft"])),
        "dpo_pairs": sum(map(len, sets.rows["dpo"])),
        "identical_pairs": sets.identical_pairs,
        **_count_characters(length, sets),
        "pretrain_head": head,
        "first_item": content(first["sft"]["prompt"]) if first["sft"] else None,
        "first_pair": [poem.title for poem in sets.pairs[0]] if sets.pairs else None,
    }


def describe_texts(sets: Sets, options: DataOptions) -> dict[str, Any]:
    """Returns the keys of the summary that say what the texts are. kind.py reads them."""
    found = language.detect(row["text"] for row in sets.rows["pretrain"][0])
    if options.language:
        found = language.Language(options.language, found.script)
    return {
        "shapes": {stage: sets.shape_of(stage) for stage in STAGES if stage not in sets.left_out},
        "language": {"code": found.code, "name": found.name, "script": found.script},
        "verse": _is_verse(sets),
    }


def _is_verse(sets: Sets) -> bool:
    """Returns whether the texts that a model learns to write are classical Chinese verse."""
    from poet.prosody.judge import applies

    for stage, column in (("sft", "completion"), ("dpo", "chosen")):
        if sets.rows[stage][0]:
            first = itertools.islice(sets.rows[stage][0], _JUDGED)
            return applies(content(row[column]) for row in first)
    has_titles = sets.shape_of("pretrain") == POEMS
    texts = (row["text"] for row in itertools.islice(sets.rows["pretrain"][0], _JUDGED))
    return applies(split_title(text)[1] if has_titles else text for text in texts)


def _count_characters(length: int, sets: Sets) -> dict[str, int]:
    """Counts the characters of all sets.

    For a corpus of poems it counts as the original tutorial does. The tutorial counts the
    characters of its tags, such as <INS>, with each poem. It counts one end mark for all poems.

    Args:
        length: The number of characters for pretraining.
    """
    seen = {"\n"}
    for row in itertools.chain(*sets.rows["pretrain"]):
        seen.update(row["text"])
    if sets.split:
        poems = itertools.chain(sets.split.sft, *sets.pairs)
        texts = (_tutorial_text(poem) for poem in poems)
        end_mark = 1
    else:
        rows = itertools.chain(*sets.rows["sft"], *sets.rows["dpo"])
        texts = (content(messages) for row in rows for messages in row.values())
        end_mark = 0
    for text in texts:
        length += len(text)
        seen.update(text)
    return {"characters": length + end_mark, "distinct_characters": len(seen) + end_mark}


def _tutorial_text(poem: Poem) -> str:
    return f"<INS>請用以下題目寫一首詩<INP>{poem.title}<RES>{poem.text}"


def write_sets(sets: Sets, folder: Path) -> None:
    """Writes the Parquet files of all stages into `folder`."""
    for stage, halves in sets.rows.items():
        (folder / stage).mkdir()
        for name, rows in zip(HALVES, halves, strict=True):
            write_rows(rows, stage, folder / stage / f"{name}.parquet")


# ----------------------------------------------------------------------------- run folder -> rows


def format_summary(summary: dict[str, Any]) -> str:
    """Returns the figures as the first stage prints them."""
    parts, rows, copies = summary["parts"], summary["rows"], summary["copies"]
    dropped = [f"    {count:>9,} {reason}" for reason, count in summary["dropped"].items()]
    made_from, shapes = summary["made_from"], summary.get("shapes", dict.fromkeys(STAGES, POEMS))
    found = summary.get("language", {"name": "Chinese", "script": "traditional Chinese"})
    source = ", ".join(str(made_from[key]) for key in SOURCE_KEYS if made_from.get(key))
    identical = (
        f" ({summary['identical_pairs']:,} identical ones dropped)"
        if summary["identical_pairs"]
        else ""
    )
    lines = [
        f"{source}: {summary['read']:,} read, {summary['kept']:,} kept. Dropped:",
        *(dropped or ["    none"]),
        *summary.get("notes", ()),
        f"Language: {found['name'] or 'not known'} ({found['script']}).",
    ]
    if summary.get("split", made_from.get("split")):
        if copies:
            copied, across = copies["poems"], copies["across_parts"]
            lines.append(
                f"{copied:,} poems have a copy, {across:,} of them in another part of the split."
            )
        lines.append(
            f"Split: {parts['pretrain']:,} to pretrain, {parts['sft']:,} to fine-tune, "
            f"{parts['dpo']:,} to align."
        )
    if "sft" in shapes:
        lines.append(
            f"  fine-tuning   {summary['sft_items']:,} {shapes['sft']}, the first "
            f"{shorten(summary['first_item'], 60)}"
        )
    if "dpo" in shapes:
        titles = [shorten(title, 60) for title in summary["first_pair"] or ()]
        first = f", the first {' against '.join(titles)}" if titles else ""
        lines.append(f"  alignment     {summary['dpo_pairs']:,} pairs{identical}{first}")
    sizes = ", ".join(
        f"{stage} {rows[stage]['train']:,} + {rows[stage]['test']:,}" for stage in shapes
    )
    lines += [
        f"  all text      {summary['characters']:,} characters, "
        f"{summary['distinct_characters']:,} distinct",
        f"  pretraining   {summary['pretrain_characters']:,} characters, which begin",
        *(f"    {line}" for line in summary["pretrain_head"].splitlines()),
        f"Rows to train on + held out: {sizes}.",
        *summary.get("left_out", {}).values(),
    ]
    return visible("\n".join(lines))
