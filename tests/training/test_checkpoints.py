"""The folder of a stage: whose it is, and what a killed command left in it."""

import pytest

from poet.errors import UserError
from poet.training.checkpoints import arguments_of, claim, refuse_another, upgraded


def test_a_command_that_was_killed_before_its_record_was_whole_goes_on(tmp_path):
    folder = tmp_path / "pretrain"
    (folder / "unfinished" / "checkpoint-2").mkdir(parents=True)
    (folder / "completions").mkdir()  # TRL makes it while GRPO's trainer is built
    (folder / "._arguments.json.4711.part").write_text('{"seed": ', encoding="utf-8")
    claim(folder, {"seed": 1})
    assert {path.name for path in folder.iterdir()} == {"_arguments.json", "completions"}
    assert arguments_of(folder) == {"seed": 1}


def test_files_of_something_else_are_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "._arguments.json.4711.part").touch()
    with pytest.raises(UserError, match=r"holds notes\.txt, which this project did not make"):
        claim(tmp_path, {"seed": 1})
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_without_a_checkpoint_has_nothing_to_lose(tmp_path):
    folder = tmp_path / "pretrain"
    claim(folder, {"seed": 1})
    (folder / "samples.jsonl").touch()
    claim(folder, {"seed": 2})
    assert arguments_of(folder) == {"seed": 2}
    (folder / "_arguments.json").write_text('{"se', encoding="utf-8")  # as after a power cut
    claim(folder, {"seed": 2})
    (folder / "checkpoint-2").mkdir()
    for refuse in (refuse_another, claim):
        with pytest.raises(UserError, match=r"another run \(seed was 2, is 3\)"):
            refuse(folder, {"seed": 3})


def test_a_run_that_goes_on_keeps_its_first_record(tmp_path):
    claim(tmp_path, {"seed": 1, "versions": {"trl": "1.16"}})
    (tmp_path / "checkpoint-2").mkdir()
    claim(tmp_path, {"seed": 1, "versions": {"trl": "1.17"}})
    assert arguments_of(tmp_path)["versions"] == {"trl": "1.16"}
    assert upgraded(tmp_path).startswith("; upgraded since it began: trl 1.16 -> ")
    (tmp_path / "_arguments.json").write_text('{"se', encoding="utf-8")
    with pytest.raises(UserError, match=r"_arguments.json is broken .* Delete "):
        claim(tmp_path, {"seed": 1})


def test_a_folder_that_another_command_finished_is_not_trained_again(tmp_path):
    claim(tmp_path, {"seed": 1})
    (tmp_path / "trainer_state.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="another command has just finished"):
        claim(tmp_path, {"seed": 1})
