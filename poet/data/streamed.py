"""Makes the data sets of a corpus that is larger than memory: `streaming: true` in data.yaml.

The hash of a poem's text decides its stage, and whether it is held out. Copies of a poem thus stay
together. Items go to files of a bounded size first. Each file is then shuffled in memory, and
becomes one Parquet file.

It knows sources, shapes and rows. It does not know tokens. build.py calls it.
"""

import hashlib
import itertools
import json
import random
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from poet.data import preferences
from poet.data.items import Source, check_usable, open_source
from poet.data.options import DataOptions
from poet.data.parquet import ParquetRows, write_rows
from poet.data.poems import SPLIT_SEED, Poem
from poet.data.rows import Row
from poet.data.run_data import HALVES, STAGES
from poet.data.sets import (
    MISSING,
    NO_PREFERENCE,
    ROW,
    Sets,
    common_source,
    form_pairs,
    no_pairs,
    preference_for,
    ratio_of,
)
from poet.data.shapes import POEMS
from poet.data.sources import size_of
from poet.errors import UserError

_BUCKET_BYTES = 16 * 2**20  # of text that is shuffled in memory at once
_MOST_BUCKETS = 64  # per set, because all of them are open at once
_HELD_OUT_BYTES = 8 * 2**20  # evaluation reads all held-out rows into memory


def open_sets(options: DataOptions) -> Sets:
    """Opens the sources and reads their first items. `write_sets` makes the rows.

    Raises:
        UserError: A source cannot be read, or the preference needs all poems in memory.
    """
    if options.preference == "novel":
        raise UserError("--preference novel keeps all poems in memory. Leave streaming out.")
    sources = {key: open_source(name, options) for key, name in options.sources().items()}
    return Sets(sources, rows={stage: ([], []) for stage in STAGES})


def write_sets(sets: Sets, options: DataOptions, folder: Path) -> None:
    """Writes the Parquet files of all stages into `folder`. `sets.rows` then read them.

    Raises:
        UserError: A source is broken, or it has too few items for a stage.
    """
    common = common_source(sets.sources)
    for key, source in sets.sources.items():
        own = [key] if key in STAGES else []
        shared = [stage for stage in STAGES if source is common and stage not in sets.sources]
        _distribute(source, own, shared, options, sets, folder)
    for stage in STAGES:
        (folder / stage).mkdir(exist_ok=True)
        for half in HALVES:
            if not any((folder / stage).glob(f"{half}*")):  # each stage has its files
                write_rows([], stage, folder / stage / f"{half}.parquet")


def _distribute(
    source: Source,
    own: list[str],
    shared: list[str],
    options: DataOptions,
    sets: Sets,
    folder: Path,
) -> None:
    """Writes the rows of one source.

    Args:
        own: Stages that use the whole source.
        shared: Stages without a source of their own. Poems are split among them. Documents,
            answers and pairs go to each of them as a whole.
    """
    items = iter(source.items)
    head = list(itertools.islice(items, 1000))
    stages = own + shared
    if source.shape == POEMS and "dpo" in stages:
        sets.preference = options.preference or ""
        if sets.preference == "auto":
            sets.preference = preference_for(head)
        if not sets.preference:
            sets.leave_out("dpo", NO_PREFERENCE)
            stages.remove("dpo")
    for stage in stages:
        if (stage, source.shape) not in ROW:
            sets.leave_out(stage, MISSING[stage])
    stages = [stage for stage in stages if (stage, source.shape) in ROW]
    is_split = source.shape == POEMS and "corpus" in sets.sources
    if is_split:
        sets.ratio = ratio_of(stages, options)
    parts = folder / "parts"
    count = _write_parts(
        source, itertools.chain(head, items), stages, sets.ratio if is_split else (), options, parts
    )
    check_usable(source, count)
    source.items = range(count)  # only their number is known from here on
    for stage in stages:
        _write_stage(stage, source, options, sets, folder)
    shutil.rmtree(parts)


def _write_parts(
    source: Source,
    items: Iterable[Any],
    stages: list[str],
    ratio: Sequence[int],
    options: DataOptions,
    folder: Path,
) -> int:
    """Writes each item to a file of its stages, and returns the number of items.

    Args:
        ratio: Decides the stage of an item. Empty: all `stages` get it.
    """
    size = size_of(source.name)
    held_out = min(options.held_out, _HELD_OUT_BYTES / max(1, size))
    buckets = min(_MOST_BUCKETS, 1 + size // _BUCKET_BYTES)
    count = 0
    with ExitStack() as stack:
        files: dict[Path, Any] = {}
        for item in items:
            count += 1
            is_poem = isinstance(item, Poem)
            text = item.wording if is_poem else json.dumps(item, sort_keys=True)
            place, chance, bucket = _numbers(f"{SPLIT_SEED}\n{text}")
            half = HALVES[chance < held_out]
            line = json.dumps(asdict(item) if is_poem else item) + "\n"
            for stage in [_choose(ratio, place)] if ratio else stages:
                path = folder / stage / half / f"{int(bucket * buckets):02}"
                if path not in files:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    files[path] = stack.enter_context(path.open("w", encoding="utf-8"))
                files[path].write(line)
    return count


def _numbers(text: str) -> tuple[float, float, float]:
    """Returns three numbers from 0 to 1 that depend on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=24).digest()
    a, b, c = (int.from_bytes(digest[i : i + 8], "big") / 2**64 for i in (0, 8, 16))
    return a, b, c


def _choose(ratio: Sequence[int], place: float) -> str:
    ends = itertools.accumulate(ratio)
    return STAGES[next(i for i, end in enumerate(ends) if place * sum(ratio) < end)]


def _write_stage(
    stage: str, source: Source, options: DataOptions, sets: Sets, folder: Path
) -> None:
    """Turns the parts of a stage into Parquet files of about the size of one part."""
    (folder / stage).mkdir(exist_ok=True)
    for half in HALVES:
        paths = sorted((folder / "parts" / stage / half).glob("*"))
        for path in paths:
            part = _rows_of(path, stage, source.shape, sets.preference)
            name = half if len(paths) == 1 else f"{half}-{path.name}"
            write_rows(part, stage, folder / stage / f"{name}.parquet")
    halves = [ParquetRows(folder / stage, half) for half in HALVES]
    sets.rows[stage] = halves[0], halves[1]
    if not all(map(len, halves)):
        if stage != "dpo":
            raise UserError(
                f"{source.name}: {len(source.items)} {source.shape} are too few to stream. "
                "Leave streaming out."
            )
        found = f"too few poems are {sets.preference}, or too few are not"
        sets.leave_out(stage, no_pairs(found))


def _rows_of(path: Path, stage: str, shape: str, preference: str) -> list[Row]:
    """Returns the rows of one part in random order. Pairs are formed within a part."""
    rng = random.Random(f"{SPLIT_SEED} {path.name}")
    items: list[Any] = [json.loads(line) for line in path.open(encoding="utf-8")]
    rng.shuffle(items)
    if shape == POEMS:
        items = [Poem(**{**item, "couplets": tuple(item["couplets"])}) for item in items]
        if stage == "dpo":
            items, _ = form_pairs(items, preferences.get(preference), rng)
    return list(map(ROW[stage, shape], items))
