"""Prints lines and progress: with bars and colours on a terminal, as plain lines elsewhere."""

import functools
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")


def on_terminal() -> bool:
    """Returns whether stdout is a terminal that can show a bar."""
    return sys.stdout.isatty()


def stdout() -> Console:
    """Returns the console of the present stdout, which tests and notebooks may replace.

    A bar and the lines above it must come from one console.
    """
    return _console(sys.stdout)


@functools.lru_cache(maxsize=1)
def _console(file: TextIO) -> Console:
    return Console(file=file, highlight=False, soft_wrap=True, markup=False, emoji=False)


def bar(console: Console, *columns: str) -> Progress:
    """Returns a progress bar. `columns` are names of task fields, which it shows after the bar."""
    fields = [TextColumn(f"{{task.fields[{name}]}}") for name in columns]
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        *fields,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )


def track(items: Iterable[T], description: str) -> Iterator[T]:
    """Yields the items; on a terminal a bar on stderr counts them and goes away at the end."""
    if not sys.stderr.isatty():
        yield from items
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, description=description)


@contextmanager
def status(text: str) -> Iterator[None]:
    """Shows a moving sign and a text while the block runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(text):
        yield


def heading(number: int, of: int, text: str, chapter: str) -> None:
    """Prints the heading of one stage and the chapter of the book that explains it."""
    console = stdout()
    console.print()
    if on_terminal():
        console.rule(Text.assemble((f"{number} of {of}", "bold"), f"  {text}"), align="left")
    else:
        console.print(f"== {number} of {of}  {text}")
    console.print(Text(f"The book explains this stage: book/{chapter}.md", "dim"))
    console.print()
