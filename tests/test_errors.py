"""Tests of how commands end."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows closes pipes in another way")
@pytest.mark.parametrize("flush", [True, False])
def test_a_closed_pipe_ends_a_command_without_a_traceback(flush):
    line = f"input(); print('春' * 1000, flush={flush})"
    words = [sys.executable, "-c", f"from poet import errors; errors.run(lambda: exec({line!r}))"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(words, env=environment, text=True, **pipes)
    process.stdout.close()
    process.stdin.write("\n")
    process.stdin.close()
    assert process.stderr.read() == "" and process.wait() == 141


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("pass", 0, ""),
        ("raise errors.UserError('春 is wrong')", 2, "error: 春 is wrong\n"),
        ("raise errors.UserError('春' * 9_000)", 2, f"error: {'春' * 1_993}\n"),
        ("raise KeyboardInterrupt", 130, "interrupted.\n"),
    ],
)
def test_exit_codes_and_messages_on_an_ascii_terminal(line, code, message):
    program = f"from poet import errors\ndef main():\n    {line}\nerrors.run(main)"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (done.returncode, done.stderr.decode()) == (code, message)
