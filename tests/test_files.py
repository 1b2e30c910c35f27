"""Files that are written whole, and folders of another run."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

from poet.errors import UserError, cannot_write
from poet.files import lock, refuse_changes, refuse_disk_errors, replacing, write_text
from poet.training.checkpoints import writing


def test_a_text_replaces_the_file(tmp_path):
    write_text(tmp_path / "a.txt", "春")
    write_text(tmp_path / "a.txt", "夏")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "夏"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "春")
    with pytest.raises(OSError, match="full"), replacing(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise OSError("full")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "春"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, r"No space left on device\. Free some space"),
        (errno.EACCES, r"Permission denied\. Pass another --output_dir\."),
        (errno.EROFS, r"Read-only file system\. Pass another --output_dir\."),
        (errno.EIO, r"Input/output error\. Remove the cause, then run the command again\."),
    ],
)
def test_a_failed_write_names_the_path_and_the_advice_that_fits(code, message):
    for block in (refuse_disk_errors, writing):
        with pytest.raises(UserError, match=f"^cannot write x: {message}"), block(Path("x")):
            raise OSError(code, os.strerror(code))


def test_a_read_only_disk_gives_advice_also_to_commands_without_output_dir():
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))
    text = cannot_write("poems.txt", error)
    assert text.endswith("Read-only file system. Make it writable, then run the command again.")


def test_another_run_is_refused_with_the_differences(tmp_path):
    refuse_changes(tmp_path, {"seed": 1}, {"seed": 1})
    with pytest.raises(UserError, match=r"\(rank was None, is 8; seed was 1, is 2\)"):
        refuse_changes(tmp_path, {"seed": 1}, {"seed": 2, "rank": 8})
    with pytest.raises(UserError) as caught:
        refuse_changes(tmp_path, {"author": "李" * 9_000}, {"author": ["杜"] * 9_000})
    assert len(str(caught.value)) < 500


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of `run`, and has a child that does not."""
    words = (
        "import os, time; from pathlib import Path; from poet.files import lock; "
        f"lock(Path({str(tmp_path / 'run')!r})); os.fork() and print('locked', flush=True); "
        "time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", words], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == b"locked\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_one_command_writes_a_folder_and_a_killed_one_leaves_no_lock(tmp_path, other):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for name in ("run", "link"):
        with pytest.raises(UserError, match=rf"{name} \(process {other.pid}\)\. Wait until"):
            lock(tmp_path / name)
    other.send_signal(signal.SIGKILL)
    other.wait()
    lock(tmp_path / "run")  # although the child of the killed command still runs
    lock(tmp_path / "run")
    assert not (tmp_path / "run").exists()
