"""A stage's folder: who it belongs to, where its training stopped, whether it is finished.

Knows names of files; knows nothing of what is inside them. Whole things only: a checkpoint is written under
`unfinished/` and renamed, a finished stage gets `trainer_state.json` as its last file.
"""

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from poet.errors import UserError, first_line
from poet.files import FREE_SPACE, refuse_another, write_text

UNFINISHED = "unfinished"
_ARGUMENTS = (
    "_arguments.json"  # may name folders of this machine: a push leaves out what begins with _
)
_DONE = "trainer_state.json"
_PARTS = ("optimizer.[pb]*", "scheduler.pt", "trainer_state.json", "rng_state*.pth")
_NOT_WRITTEN = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
)
_WEIGHTS = (
    "model.safetensors",
    "adapter_model.safetensors",
)  # of a whole model; of an adapter, which needs its base


def is_finished(folder: Path) -> bool:
    """Whether a stage ended and left its checkpoint in `folder`."""
    return (folder / _DONE).is_file()


def log_history(folder: Path) -> list[dict]:
    """What a finished stage logged, step after step; nothing of one that is not."""
    return (
        json.loads((folder / _DONE).read_text(encoding="utf-8"))["log_history"]
        if is_finished(folder)
        else []
    )


def has_weights(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _WEIGHTS)


def arguments_of(folder: Path) -> dict:
    """What a stage was trained with; empty where the folder came from elsewhere."""
    record = folder / _ARGUMENTS
    return json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}


def round_folder(output: str | Path, number: int) -> Path:
    """Where the round of this number, from 1, leaves its model, if it is not the last: that one writes OUTPUT_DIR itself."""
    return Path(f"{output}-round-{number}")


def claim(folder: Path, arguments: dict) -> None:
    """Makes `folder` this run's, or finds that it already is; what a killed run left half-written goes.

    Raises:
        UserError: where the folder holds a run with other arguments, naming those that differ.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"{folder} is a file, and a folder for the checkpoints is wanted; pass another --output_dir"
        )
    record = folder / _ARGUMENTS
    arguments = json.loads(json.dumps(arguments, default=str))
    if earlier := arguments_of(folder):
        refuse_another(folder, earlier, arguments)
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"{folder} holds files that are no run of this project; pass another --output_dir"
        )
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(record, json.dumps(arguments, ensure_ascii=False, indent=2, sort_keys=True))


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint to go on from, or None. One that lacks a part would resume silently wrong: it is passed over."""
    steps = {
        int(m[1]): p
        for p in folder.glob("checkpoint-*")
        if (m := re.fullmatch(r"checkpoint-(\d+)", p.name))
    }
    sharded = any(
        p.name.startswith("global_step") for p in folder.glob("checkpoint-*/*")
    )  # by DeepSpeed
    for step in sorted(steps, reverse=True):
        if (
            sharded
            or has_weights(steps[step])
            and all(_holds(steps[step], part) for part in _PARTS)
        ):
            return steps[step]
    return None


def _holds(folder: Path, name: str) -> bool:
    """Whether a file of this name or pattern is there, and not empty, as a power cut may leave it."""
    return any(path.stat().st_size for path in folder.glob(name))


def publish(source: Path, folder: Path) -> None:
    """Moves the finished stage's files from `source` into `folder`, the mark of completion last."""
    for path in sorted(source.iterdir(), key=lambda p: p.name == _DONE):
        path.replace(folder / path.name)
    source.rmdir()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Makes one sentence of a disk that is full or may not be written, in the words of whichever library met it.

    Only OSError says so by its type: safetensors and torch have errors of their own for it.
    """
    try:
        yield
    except Exception as error:
        if not (
            getattr(error, "errno", None) in _NOT_WRITTEN
            or re.search("os error|PytorchStreamWriter|inline_container", str(error))
        ):
            raise
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"cannot write {folder}: {reason}. {FREE_SPACE}") from error
