"""Files of a run: written whole or not at all, and refused when they belong to another run.

It knows files and folders. It does not know what is in them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poet.errors import UserError

FREE_SPACE = "Free some space, then run the command again."


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, then renames it to `path`. A reader never meets half a file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, or nothing if the write fails."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def refuse_disk_errors(path: Path, advice: str = FREE_SPACE) -> Iterator[None]:
    """Turns an OSError inside the block into a UserError that names `path`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}. {advice}") from error


def refuse_another(folder: Path, there: dict, now: dict) -> None:
    """Refuses a folder whose run was made with other arguments.

    Raises:
        UserError: Arguments differ. The message names the first three.
    """
    differing = [key for key in sorted(there.keys() | now.keys()) if there.get(key) != now.get(key)]
    if differing:
        changes = [f"{key} {there.get(key)} there, {now.get(key)} now" for key in differing[:3]]
        raise UserError(
            f"{folder} holds another run ({'; '.join(changes)}). "
            "Pass another --output_dir, or delete that folder."
        )
