"""Starts a script quickly: a waiting server has imported the libraries, and forks.

    python benchmarks/launcher.py serve SOCKET
    python -I -S benchmarks/launcher.py start SOCKET SCRIPT OPTION…

A launch of a training script imports libraries for several seconds. benchmarks/chaos.py launches
thousands of times. The forked process takes over the environment, the working folder and the
output of the process that asked for it. Both end with the same exit code. If the one that asked is
killed, so is the forked one.
"""

import fcntl
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Imported by the five training scripts before their first step.
LIBRARIES = (
    "torch torch._dynamo transformers transformers.trainer trl.trainer.sft_trainer "
    "trl.trainer.dpo_trainer trl.trainer.grpo_trainer datasets peft matplotlib.figure "
    "poet.training.stage poet.training.command_line poet.training.optimizer poet.data.run_data "
    "poet.alignment.rounds poet.alignment.masked_poems poet.alignment.own_pairs "
    "poet.alignment.distillation poet.alignment.rewards poet.speed.apply poet.speed.decode "
    "poet.evaluation.held_out"
).split()


def start(address: str, command: list[str]) -> int:
    """Asks the server to run a command, and returns its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"."], [1, 2])
        request = {"command": command, "environment": dict(os.environ), "folder": os.getcwd()}
        connection.sendall(json.dumps(request).encode())
        connection.shutdown(socket.SHUT_WR)
        return int(connection.recv(16) or 1)


def serve(address: str) -> None:
    """Imports the libraries, and forks for each request until it is killed."""
    os.environ["TQDM_DISABLE"] = "1"  # as in poet/errors.py, before the libraries read it
    sys.path.insert(0, str(ROOT))
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no ended fork stays
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                server.close()
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 2)
    received = b"".join(iter(lambda: connection.recv(65536), b""))
    job = os.fork()
    if job:
        _, status = os.waitpid(job, 0)
        code = os.waitstatus_to_exitcode(status)
        with suppress(BrokenPipeError):  # the asking process was killed
            connection.sendall(str(code if code >= 0 else 128 - code).encode())
        os._exit(0)
    # The kernel sends SIGKILL when the other side closes, which is before its parent can go on.
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(connection, fcntl.F_SETFL, os.O_ASYNC)
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    # The old objects remember whether their file could seek.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    _run(**json.loads(received))


def _run(command: list[str], environment: dict[str, str], folder: str) -> None:
    """Runs a script as Python runs it, with the injector of ckpt-chaos if it is asked for."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if "CKPT_CHAOS_WATCH" in environment:
        from ckpt_chaos.targets.common import arm_from_env

        arm_from_env(int(environment.get("RANK", 0)), lazy=True)
        os.environ["CKPT_CHAOS_ARMED"] = "1"  # its children are not killed
    sys.argv = command
    sys.path[0] = str(Path(command[0]).parent)
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(start(sys.argv[2], sys.argv[3:]))
