"""Writes the files of a run as a whole or not at all. One command at a time may write them.

Every file and folder that others read is written through this module. A file gets its final name
only after its contents are on the disk. So no power cut leaves half a file under that name.

It knows files and folders. It does not know what is in them.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from poet.errors import UserError, cannot_write, disk_error, shorten

ANOTHER_FOLDER = "Pass another --output_dir, or delete that folder."
_OTHER_SUMS = {  # printed instead of two checksums, which would mean nothing to a reader
    "fingerprint": "it was made from other texts",
    "preference_code": "its preference had other code",
    "model": "it started from another model",
}
_LOCKS: dict[Path, IO[str]] = {}  # a lock ends when its file is closed


def sync(path: Path) -> None:
    """Waits until a file, or the list of names in a folder, is on the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network drives cannot sync
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Waits until all files below `folder` are on the disk, and their names."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(root, name))
        sync(Path(root))


def make_folder(folder: Path) -> None:
    """Makes a folder and its missing parents."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, then renames it to `path`. A reader never meets half a file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        if disk_error(error):
            error.filename = str(path)  # the error of a full disk names no file
        raise
    finally:
        partial.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Returns whether a killed command left this file in the middle of `replacing`."""
    return path.name.startswith(".") and path.name.endswith(".part")


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, or nothing if the write fails."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def publish_folder(source: Path, folder: Path) -> None:
    """Renames a written folder to `folder`. It replaces a folder of that name."""
    sync_tree(source)
    shutil.rmtree(folder, ignore_errors=True)
    source.replace(folder)
    sync(folder.parent)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to write to, then renames it to `folder`."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        make_folder(partial)
        yield partial
        publish_folder(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def publish_files(source: Path, folder: Path, last: str) -> None:
    """Moves the files of `source` into `folder`. Only when all are there, `last` follows."""
    sync_tree(source)
    for path in source.iterdir():
        if path.name != last:
            path.replace(folder / path.name)
    sync(folder)
    (source / last).replace(folder / last)
    sync(folder)
    source.rmdir()


@contextmanager
def refuse_disk_errors(path: Path, advice: str = "") -> Iterator[None]:
    """Turns an OSError inside the block into a UserError that names `path`.

    Args:
        advice: What to do. By default, the advice fits the error and a `path` below --output_dir.
    """
    try:
        yield
    except OSError as error:
        raise UserError(cannot_write(path, error, advice, is_output=True)) from error


def lock(folder: Path) -> None:
    """Keeps other commands from writing `folder` until this process ends.

    The lock is on a file next to the folder. The system drops it together with the process, so a
    killed command leaves no lock behind. Calling this again in the same process is harmless.
    No other code may open that file: if any code of this process closes it, the lock ends.

    Raises:
        UserError: Another command writes the folder, or the file cannot be written.
    """
    real = folder.resolve()
    path = real.with_name(f".{real.name}.lock")
    if path in _LOCKS:
        return
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return
    with refuse_disk_errors(folder):
        make_folder(path.parent)
        file = path.open("a+", encoding="utf-8")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        process = file.read().strip() or "unknown"
        file.close()
        raise UserError(
            f"another command writes {folder} (process {process}). Wait until it ends, or pass "
            "another --output_dir."
        ) from error
    except OSError:  # this file system has no locks
        pass
    _LOCKS[path] = file
    with refuse_disk_errors(folder):
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()


def difference(name: str, there: Any, now: Any) -> str:
    """Returns a text that says how an argument of a run has changed since the run was made."""
    if ":" in name:  # a reward by the user. The record has the checksum of its code.
        return f"its reward {name} had other code"
    return _OTHER_SUMS.get(name, f"{name} was {shorten(there, 100)}, is {shorten(now, 100)}")


def refuse_foreign(folder: Path, names: list[str]) -> None:
    """Refuses a folder that holds files with these names, which this project did not make.

    Raises:
        UserError: There is such a file.
    """
    if names:
        raise UserError(
            f"{folder} holds {min(names)}, which this project did not make. "
            "Pass another --output_dir."
        )


def refuse_changes(folder: Path, there: dict, now: dict) -> None:
    """Refuses a folder whose run was made with other arguments.

    Raises:
        UserError: Arguments differ. The message names the first three.
    """
    differing = [key for key in sorted(there.keys() | now.keys()) if there.get(key) != now.get(key)]
    if differing:
        changes = [difference(key, there.get(key), now.get(key)) for key in differing[:3]]
        raise UserError(f"{folder} holds another run ({'; '.join(changes)}). {ANOTHER_FOLDER}")
