"""A person's mistake, and how every command of this project ends.

Knows exit codes and the one-sentence message; knows nothing of poems, models or files.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """A mistake of the person at the keyboard: what was wrong, where, and what to do next, in one sentence."""


def first_line(error: BaseException) -> str:
    """What a library says of its error, in one line; its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def refuse(message: str) -> NoReturn:
    """What argparse calls in place of its own `error`, which prints a usage and no sentence."""
    raise UserError(message)


def run(main: Callable[[], int | None]) -> None:
    """Runs a command's `main` and exits: 0, 2 after a `UserError` (its sentence on stderr), 130 after Ctrl-C.

    Anything else is a bug of ours and keeps its traceback; but a reader that has seen enough (`| head`) is none.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                encoding="utf-8", errors="replace"
            )  # verse must not kill a run on an ASCII terminal
    try:
        code = main() or 0
        sys.stdout.flush()  # here a reader that has gone is met, and not when Python ends
        sys.exit(code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else Python complains once more as it ends
        sys.exit(141)  # as a shell counts it: 128 and SIGPIPE
