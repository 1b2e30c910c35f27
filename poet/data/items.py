"""Reads the usable items of a source: poems, documents, answers or pairs (shapes.py).

It knows sources and shapes. It does not know stages.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from poet.data import shapes
from poet.data.columns import document_of
from poet.data.json_reader import Records
from poet.data.options import DataOptions
from poet.data.poems import Poem, refuse_unusable, usable_poems
from poet.data.shapes import ANSWERS, DOCUMENTS, POEMS
from poet.data.sources import Found, read_fields, read_records
from poet.errors import UserError

_LOOK_AT = 1000  # records in which a title is looked for


@dataclass
class Source:
    """One source and its usable items: a list, or an iterator that reads them when asked."""

    name: str
    shape: str
    items: Any
    dropped: Counter[str] = field(default_factory=Counter)
    """Reason -> number of items."""
    found: Found = field(default_factory=Found)


def open_source(name: str, options: DataOptions) -> Source:
    """Returns a source whose items are read when they are asked for, each once.

    The first record decides the shape. Poems without any title are documents.

    Raises:
        UserError: The source is missing, empty or broken, or holds rows of another shape.
    """
    found = Found()
    records = read_records(name, found)
    head = list(itertools.islice(records, 1))
    shape = shapes.shape_of(head[0][1]) if head else POEMS
    if shape == POEMS:
        head += itertools.islice(records, _LOOK_AT - 1)
        fields = read_fields(name, options.columns, records=iter(head))
        if not any(poem["title"] for poem in fields):
            shape = DOCUMENTS
    source = Source(name, shape, (), found=found)
    read = {POEMS: _poems, DOCUMENTS: _documents}.get(shape, _rows)
    source.items = read(source, itertools.chain(head, records), options)
    return source


def read_source(name: str, options: DataOptions) -> Source:
    """Returns a source with a list of its items.

    Raises:
        UserError: As `open_source`, or nothing in the source is usable.
    """
    source = open_source(name, options)
    source.items = list(source.items)
    check_usable(source, len(source.items))
    return source


def check_usable(source: Source, count: int) -> None:
    """Raises a UserError if no poem is usable. Other shapes need two usable items."""
    read = count + source.dropped.total()
    if source.shape == POEMS:
        if not count:
            refuse_unusable(source.name, source.dropped)
    elif count < 2:
        reasons = "".join(f", {n} {reason}" for reason, n in source.dropped.most_common())
        raise UserError(
            f"{source.name} has {read} {source.shape}. Usable: {count}{reasons}. "
            "At least 2 are needed."
        )


def _poems(source: Source, records: Records, options: DataOptions) -> Iterator[Poem]:
    fields = read_fields(source.name, options.columns, source.found, records)
    rules = (options.min_couplets, options.equal_couplets, options.forbidden)
    return usable_poems(fields, source.dropped, *rules)


def _documents(source: Source, records: Records, options: DataOptions) -> Iterator[str]:
    for place, record in records:
        if text := document_of(record, options.columns, place):
            yield text
        else:
            source.dropped["empty"] += 1


def _rows(source: Source, records: Records, options: DataOptions) -> Iterator[shapes.Row]:
    make_row = shapes.answer_row if source.shape == ANSWERS else shapes.pair_row
    for place, record in records:
        if shapes.shape_of(record) != source.shape:
            raise UserError(
                f"{place} has other columns than the first row. Use the same columns in all rows."
            )
        try:
            yield make_row(record, place)
        except shapes.Unusable as reason:
            source.dropped[str(reason)] += 1
