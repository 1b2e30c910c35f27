"""Ctrl-C and SIGTERM: work that is finished first, a second signal, and libraries that hang."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT

from poet import interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX sends them")
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@BOTH
def test_a_signal_ends_other_work_at_once(interruptible, number):
    with pytest.raises(KeyboardInterrupt):
        send(number)
    assert interrupts.has_come()


@BOTH
def test_held_work_is_finished_first(interruptible, capsys, number):
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held("stopping after this"):
        send(number)
        done.append("work")
    assert done == ["work"]
    assert capsys.readouterr().out == "\nstopping after this (Ctrl-C ends at once)\n"


def test_held_work_that_takes_too_long_is_given_up(interruptible, monkeypatch):
    monkeypatch.setattr(interrupts, "HOLD", 0.05)
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held("stopping after this"):
        send()
        time.sleep(20)
        done.append("work")
    assert done == []


def test_without_a_signal_nothing_happens(interruptible):
    with interrupts.held("stopping after this"):
        pass
    interrupts.hold("stopping after this")
    assert not interrupts.release() and not interrupts.has_come()


def test_a_signal_that_arrives_twice_at_once_counts_as_one(interruptible):
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.held("stopping after this"):
        send()
        send()
        done.append("work")
    assert done == ["work"]


def program(body: str) -> subprocess.Popen:
    """Starts a command that prints a line when it has begun."""
    lines = f"import os, threading, time\nfrom poet import errors, interrupts\n{body}"
    words = [sys.executable, "-u", "-c", f"{lines}\nerrors.run(main)"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, cwd=ROOT, text=True, **pipes)


@BOTH
def test_a_command_says_what_it_kept(number):
    body = """
def main():
    interrupts.kept = lambda: "Kept checkpoint-40."
    print("begun")
    time.sleep(60)
"""
    process = program(body)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    assert process.communicate() == ("", "interrupted. Kept checkpoint-40.\n")
    assert process.returncode == 130


def test_a_second_signal_ends_at_once():
    body = """
def main():
    with interrupts.held("stopping after this"):
        print("begun")
        time.sleep(60)
"""
    process = program(body)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "\n"
    time.sleep(2 * interrupts._ONE_SIGNAL)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == "" and process.returncode == 130


def test_a_library_that_swallows_the_interrupt_and_hangs_is_ended():
    body = """
interrupts.END = 0.5
def main():
    print("begun")
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        threading.Lock().acquire() and time.sleep(60)
"""
    process = program(body)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130


def test_what_libraries_do_at_the_exit_is_cut_short():
    body = """
import atexit
interrupts.EXIT = 0.3
atexit.register(time.sleep, 60)
def main():
    print("begun")
    time.sleep(60)
"""
    process = program(body)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130 and process.stderr.read() == "interrupted.\n"


def test_a_lost_connection_after_the_signal_is_no_error_of_its_own():
    body = """
def main():
    print("begun")
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise RuntimeError("connection closed by peer")
"""
    process = program(body)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate() == ("", "interrupted.\n") and process.returncode == 130


def test_a_worker_leaves_the_decision_to_its_parent():
    body = """
def main():
    child = os.fork()
    if not child:
        os.kill(os.getpid(), 2)
        print("still here")
        os.kill(os.getpid(), 15)
        print("not here")
    print(os.waitpid(child, 0)[1])
"""
    process = program(body)
    assert process.communicate() == ("still here\n15\n", "") and process.returncode == 0


def test_a_fork_that_runs_a_command_of_its_own_handles_signals():
    body = """
def command():
    try:
        os.kill(os.getpid(), 15)
    except KeyboardInterrupt:
        print("interrupted")
    os._exit(0)
def main():
    child = os.fork()
    if not child:
        errors.run(command)
    print(os.waitpid(child, 0)[1])
"""
    assert program(body).communicate() == ("interrupted\n0\n", "")
