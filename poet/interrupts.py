"""Ends a command soon after Ctrl-C or SIGTERM. Short work may be finished first.

The first signal raises KeyboardInterrupt at once, or after the block if it comes inside
`with held(…)`. A second one ends the process without further work. No file is harmed, because
files.py gives names only to whole files.

It knows signals. It does not know training or files.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# In seconds after a signal:
HOLD = 10.0  # held work may go on for so long
END = 60.0  # then the process ends, even if a library hangs
EXIT = 3.0  # time for the libraries at the exit, where torch would wait for its compilers
EXIT_CODE = 130  # 128 + SIGINT, as shells count it
_ONE_SIGNAL = 0.5  # some launchers send the same signal twice within this time
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """The signals of this process."""

    came_at: float | None = None
    held: str | None = None  # the announcement of the work that is held
    end: threading.Timer | None = None
    is_child = False


kept: Callable[[], str] = str
"""Returns what is left of an interrupted command, and how to go on. A command may replace it."""


def listen() -> None:
    """Begins to handle Ctrl-C and SIGTERM. Calling it again is harmless."""
    _State.is_child = False  # a forked process that runs a command of its own
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, _on_signal)


def has_come() -> bool:
    """Returns whether this process was asked to end."""
    return _State.came_at is not None


def hold(announcement: str) -> None:
    """Begins work that a signal does not interrupt, for at most `HOLD` seconds."""
    _State.held = announcement


def release() -> bool:
    """Ends the work that `hold` began. Returns whether a signal has come."""
    _State.held = None
    if has_come():
        _alarm_in(0)
    return has_come()


@contextmanager
def held(announcement: str) -> Iterator[None]:
    """Lets the block finish, and raises KeyboardInterrupt after it if a signal has come."""
    came_before = has_come()
    hold(announcement)
    try:
        yield
    finally:
        came = release()
    if came and not came_before:
        raise KeyboardInterrupt


@contextmanager
def let_through() -> Iterator[None]:
    """Lets a signal interrupt the block, although the work around it is held.

    Raises:
        KeyboardInterrupt: a signal came in the held work before the block.
    """
    announcement = _State.held
    if release():
        raise KeyboardInterrupt
    try:
        yield
    finally:
        _State.held = announcement


def end_in(seconds: float) -> None:
    """Ends the process after `seconds`, even if it is still at work."""
    if _State.end is not None:
        _State.end.cancel()
    _State.end = threading.Timer(seconds, os._exit, [EXIT_CODE])
    _State.end.daemon = True
    _State.end.start()


def _on_signal(number: int, frame: object) -> None:
    if _State.is_child:  # Ctrl-C reaches all processes of a terminal: the parent decides
        return
    if _State.came_at is not None:
        if time.monotonic() - _State.came_at > _ONE_SIGNAL:
            os._exit(EXIT_CODE)
        return
    _State.came_at = time.monotonic()
    end_in(END)
    if _State.held is None:
        raise KeyboardInterrupt
    with contextlib.suppress(RuntimeError, OSError):  # the program may be printing right now
        print(f"\n{_State.held} (Ctrl-C ends at once)", flush=True)
    _alarm_in(HOLD)


def _alarm_in(seconds: float) -> None:
    if hasattr(signal, "setitimer"):  # Windows has none
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _in_child() -> None:
    _State.is_child = True
    if signal.getsignal(signal.SIGTERM) is _on_signal:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
