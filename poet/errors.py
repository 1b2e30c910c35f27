"""Ends every command in the same way, and reports the mistakes of a user.

It knows exit codes and messages. It does not know poems, models or files.
"""

import argparse
import difflib
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from poet import interrupts
from poet.text import visible

_LONGEST = 2_000  # characters of a message, whatever it quotes

# How gloo and NCCL say that the process at the other end is gone.
_LOST_PROCESS = "closed by peer|reset by peer|remote process exited"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_DISK_ERRORS = (*_FULL, errno.EFBIG, errno.EROFS, errno.EIO)
# Errors of safetensors, tokenizers, torch and compilers, which are no OSError.
_DISK_MESSAGES = "PytorchStreamWriter|inline_container|No space left on device|quota exceeded"
FREE_SPACE = "Free some space, then run the command again."
_MAKE_WRITABLE = "Make it writable, then run the command again."


class UserError(Exception):
    """A mistake of the user. The message says what is wrong, where, and what to do next."""


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the error's type without a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def shorten(text: Any, length: int = 200) -> str:
    """Returns a quotation for a message: one row of at most `length` characters, then "…"."""
    text = str(text[: 2 * length] if isinstance(text, str) else text)
    text = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return text if len(text) <= length else text[:length].rstrip(" ,") + "…"


def nearest(word: str, known: Iterable[str]) -> str:
    """Returns the known word that is most like `word`, or an empty text if none is like it."""
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.5)), "")


def refuse(message: str) -> NoReturn:
    """Raises a UserError. It can replace the `error` method of another library's parser."""
    raise UserError(message)


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one message, without the usage."""

    def error(self, message: str) -> NoReturn:
        refuse(message)


def run(main: Callable[[], int | None]) -> None:
    """Runs the `main` of a command and exits.

    The exit code is 0 after success and 2 after a `UserError` or with a full disk. It is 130 after
    Ctrl-C or SIGTERM, and 141 if the reader of a pipe has gone (`| head`). Any other error is a bug
    and shows its traceback.
    """
    interrupts.listen()
    interrupts.kept = str  # an earlier command of this process may have left its own
    # The commands show their own progress. Libraries read this when they are imported.
    os.environ.setdefault("TQDM_DISABLE", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Without this, Chinese characters would end a run on an ASCII terminal.
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        code = main() or 0
        sys.stdout.flush()  # reports a closed pipe here instead of at the exit of Python
        sys.exit(code)
    except UserError as error:
        print(visible(f"error: {error}"[:_LONGEST]), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        end_interrupted()
    except BrokenPipeError:
        close_stdout()
        sys.exit(141)  # 128 + SIGPIPE, as shells count it
    except Exception as error:
        if interrupts.has_come():
            end_interrupted()  # the signal may have ended another process, and so a connection
        end_after_disk_error(error)
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and re.search(_LOST_PROCESS, str(error)):
            print("error: another process has ended. Its message says why.", file=sys.stderr)
            sys.exit(1)
        raise


def end_interrupted() -> NoReturn:
    """Exits after Ctrl-C or SIGTERM, and says what is kept."""
    print(" ".join(filter(None, ["interrupted.", interrupts.kept()])), file=sys.stderr, flush=True)
    interrupts.end_in(interrupts.EXIT)
    sys.exit(interrupts.EXIT_CODE)


def disk_error(error: BaseException) -> str | None:
    """Returns the reason if an error says that the disk is full or broken, else None."""
    code = _code(error)
    if code in _DISK_ERRORS:
        return os.strerror(code)
    return first_line(error) if re.search(_DISK_MESSAGES, str(error)) else None


def _code(error: BaseException) -> int:
    """Returns the number of a system error, or 0. Libraries in Rust put it into their message."""
    match = re.search(r"os error (\d+)", str(error))
    return int(match[1]) if match else getattr(error, "errno", None) or 0


def cannot_write(path: Any, error: BaseException, advice: str = "", is_output: bool = False) -> str:
    """Returns the message for a failed write.

    Args:
        advice: What to do. By default, it depends on the error.
        is_output: Whether the command's --output_dir chose the path.
    """
    reason = disk_error(error) or getattr(error, "strerror", None) or first_line(error)
    if not advice:
        advice = "Remove the cause, then run the command again."
        if _code(error) in _FORBIDDEN:
            advice = "Pass another --output_dir." if is_output else _MAKE_WRITABLE
        elif _code(error) in _FULL or re.search(_DISK_MESSAGES, str(error)):
            advice = FREE_SPACE
    return f"cannot write {path}: {reason}. {advice}"


def end_after_disk_error(error: Exception) -> None:
    """Exits if the disk is full or broken. Code that knows better advice raises a `UserError`."""
    if disk_error(error):
        file = getattr(error, "filename", None) or "a file"
        print(f"error: {cannot_write(file, error)}", file=sys.stderr)
        close_stdout()  # the full disk may be that of `> poems.txt`
        sys.exit(2)


def close_stdout() -> None:
    """Drops the rest of the output. Otherwise Python complains about a closed pipe at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
