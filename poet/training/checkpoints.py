"""Manages the folder of a stage: which run it belongs to, its last checkpoint, whether it is done.

It knows names of files, not their contents. A checkpoint is written under `unfinished/` and then
renamed. A finished stage gets `trainer_state.json` as its last file.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poet.errors import UserError, cannot_write, disk_error
from poet.files import (
    is_partial,
    make_folder,
    publish_files,
    refuse_foreign,
    sync,
    write_text,
)
from poet.training.record import explain, upgrades

UNFINISHED = "unfinished"
_ARGUMENTS = "_arguments.json"  # it has paths of this machine. A push leaves out files with _.
_HUB_ID = "_hub_id"
_DONE = "trainer_state.json"
_PARTS = ("optimizer.pt", "scheduler.pt", "trainer_state.json", "rng_state*.pth")
_WEIGHTS = ("model.safetensors", "adapter_model.safetensors")


def is_finished(folder: Path) -> bool:
    """Returns whether a stage ended and left its checkpoint in `folder`."""
    return (folder / _DONE).is_file()


def log_history(folder: Path) -> list[dict]:
    """Returns the logs of a finished stage, in order, or an empty list."""
    if not is_finished(folder):
        return []
    return json.loads((folder / _DONE).read_text(encoding="utf-8"))["log_history"]


def has_weights(folder: Path) -> bool:
    """Returns whether `folder` holds the weights of a model or of an adapter."""
    return any((folder / name).is_file() for name in _WEIGHTS)


def arguments_of(folder: Path) -> dict:
    """Returns the options that a stage was trained with, or {} for a folder from elsewhere."""
    record = folder / _ARGUMENTS
    try:
        return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    except ValueError as error:
        raise UserError(
            f"{record} is broken ({error}). Delete {folder}, or pass another --output_dir."
        ) from error


def upgraded(folder: Path) -> str:
    """Returns a note on libraries that were upgraded since a run began, or an empty text."""
    changed = upgrades(arguments_of(folder))
    return f"; upgraded since it began: {changed}" if changed else ""


def round_folder(output: str | Path, number: int) -> Path:
    """Returns the folder of a round, counted from 1. The last round writes `output` itself."""
    return Path(f"{output}-round-{number}")


def has_result(folder: Path) -> bool:
    """Returns whether a folder holds a checkpoint, or the model of a finished stage."""
    return is_finished(folder) or any(folder.glob("checkpoint-*"))


def refuse_another(folder: Path, record: dict) -> None:
    """Refuses a folder that holds another run or other files.

    A run that left no checkpoint has nothing to lose: another one may have its folder.

    Args:
        record: what this stage is started with, as `make_record` returns it.

    Raises:
        UserError: The message names what differs.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder. Pass another --output_dir.")
    if not folder.is_dir():
        return
    is_a_run = (folder / _ARGUMENTS).is_file()
    if not is_a_run:
        refuse_foreign(folder, [path.name for path in folder.iterdir() if not _is_left_over(path)])
    if is_a_run and has_result(folder) and (text := explain(arguments_of(folder), record)):
        raise UserError(f"{folder} holds another run {text}")


def claim(folder: Path, record: dict) -> None:
    """Makes `folder` the folder of this run, and removes what a killed run left half-written.

    A run that goes on keeps the record with which it began.

    Raises:
        UserError: the folder holds another run or other files.
    """
    refuse_another(folder, record)
    if is_finished(folder):
        raise UserError(f"another command has just finished {folder}. Run this one again.")
    make_folder(folder)
    sync(folder.parent)  # Trainer may have made the folder
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    for path in filter(is_partial, folder.iterdir()):
        path.unlink(missing_ok=True)
    if not has_result(folder):
        text = json.dumps(record, ensure_ascii=False, indent=2, sort_keys=True)
        write_text(folder / _ARGUMENTS, text)


def _is_left_over(path: Path) -> bool:
    """Returns whether a killed command may have left this before it wrote its record.

    A trainer that logs the poems of GRPO makes a folder for them when it is built.
    """
    return path.name in (UNFINISHED, "completions") or is_partial(path)


def last_checkpoint(folder: Path) -> Path | None:
    """Returns the newest whole checkpoint, or None.

    A checkpoint that lacks a part is passed over: training would resume with other random numbers
    or without the state of the optimizer.
    """
    steps = {}
    for path in folder.glob("checkpoint-*"):
        if match := re.fullmatch(r"checkpoint-(\d+)", path.name):
            steps[int(match[1])] = path
    for step in sorted(steps, reverse=True):
        if has_weights(steps[step]) and all(_has_part(steps[step], part) for part in _PARTS):
            return steps[step]
    return None


def kept(folder: Path) -> str:
    """Returns what an interrupted run leaves in `folder`, and how to go on, for a message."""
    if is_finished(folder):
        return f"{folder} is finished."
    checkpoint = last_checkpoint(folder)
    if checkpoint is None:
        return f"{folder} has no checkpoint yet. Run the same command to start again."
    return f"Kept {checkpoint}. Run the same command to resume."


def _has_part(folder: Path, pattern: str) -> bool:
    """Returns whether a file exists and has content. A power cut may leave an empty one."""
    return any(path.stat().st_size for path in folder.glob(pattern))


def publish(source: Path, folder: Path) -> None:
    """Moves the files of a finished stage into `folder`, the mark of completion last."""
    publish_files(source, folder, _DONE)


def remember_hub_id(folder: Path, hub_id: str) -> None:
    """Records under which id a stage was pushed, for the cards of the stages after it."""
    write_text(folder / _HUB_ID, hub_id)


def hub_id_of(folder: Path) -> str | None:
    """Returns the id under which a stage was pushed, or None."""
    path = folder / _HUB_ID
    return path.read_text(encoding="utf-8") if path.is_file() else None


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns the error of a full or read-only disk into one message."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, PermissionError) and not disk_error(error):
            raise
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        raise UserError(cannot_write(folder, error, is_output=True)) from error
