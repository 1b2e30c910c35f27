"""The folder of a stage: whose it is, and what a killed command left in it."""

import pytest

from poet.errors import UserError
from poet.training.checkpoints import arguments_of, claim


def test_a_command_that_was_killed_before_its_record_was_whole_goes_on(tmp_path):
    folder = tmp_path / "pretrain"
    (folder / "unfinished" / "checkpoint-2").mkdir(parents=True)
    (folder / "._arguments.json.4711.part").write_text('{"seed": ', encoding="utf-8")
    claim(folder, {"seed": 1})
    assert [path.name for path in folder.iterdir()] == ["_arguments.json"]
    assert arguments_of(folder) == {"seed": 1}


def test_files_of_something_else_are_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "._arguments.json.4711.part").touch()
    with pytest.raises(UserError, match="holds files of something else"):
        claim(tmp_path, {"seed": 1})
    assert len(list(tmp_path.iterdir())) == 2
