"""Files that are written whole, and folders of another run."""

from pathlib import Path

import pytest

from poet.errors import UserError
from poet.files import refuse_another, refuse_disk_errors, replacing, write_text


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


def test_a_disk_error_names_the_path_and_the_advice():
    with (
        pytest.raises(UserError, match=r"^cannot write x: No space left\. Free some space"),
        refuse_disk_errors(Path("x")),
    ):
        raise OSError(28, "No space left")


def test_another_run_is_refused_with_the_differences(tmp_path):
    refuse_another(tmp_path, {"seed": 1}, {"seed": 1})
    with pytest.raises(UserError, match=r"\(rank None there, 8 now; seed 1 there, 2 now\)"):
        refuse_another(tmp_path, {"seed": 1}, {"seed": 2, "rank": 8})
