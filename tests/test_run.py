"""run.py: the whole journey, as the README's first command runs it."""

import json
import os
import signal
import threading
import time

import pytest
from helpers import ROOT, history

import run as journey
from poet.training.options import PretrainOptions


def test_the_first_command_trains_an_aligned_model_and_writes_a_report(sample_run):
    folder, output = sample_run
    for stage in ("pretrain", "sft", "dpo"):
        assert (folder / stage / "model.safetensors").is_file()
        evaluations = [log["eval_loss"] for log in history(folder / stage) if "eval_loss" in log]
        assert stage == "dpo" or evaluations[-1] < evaluations[0]
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "poet write" in report and "report.png" in report
    margins = [log["eval_rewards/margins"] for log in history(folder / "dpo") if "eval_loss" in log]
    assert margins[0] == pytest.approx(0, abs=1e-4) and margins[-1] > 1
    assert "\x1b" not in output and "\r" not in output  # plain lines, since this is no terminal


def test_the_first_command_tells_the_story_of_five_stages(sample_run):
    _, output = sample_run
    places = [output.index(f"== {number} of 5") for number in range(1, 6)]
    assert places == sorted(places)
    for text in ("-100", "Parameters:", "held-out loss", "reward margin", "report.md"):
        assert text in output


def test_samples_are_kept_for_each_evaluation(sample_run):
    folder, _ = sample_run
    lines = (folder / "dpo" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line) for line in lines]
    assert [sample["step"] for sample in samples] == [0, 30, 60]
    assert all(sample["text"] and sample["reference"] for sample in samples)


def test_minutes_are_shared_out_among_the_stages_that_are_run():
    from run import split_minutes

    assert split_minutes(12, ["data", "pretrain", "sft", "dpo"]) == {
        "pretrain": 6,
        "sft": 3,
        "dpo": 3,
    }
    assert split_minutes(12, ["data", "dpo", "grpo"]) == {"dpo": 6, "grpo": 6}
    assert split_minutes(None, ["sft"]) == {"sft": None}


def test_the_entry_points_stay_short():
    scripts = sorted(ROOT.glob("train_*.py"))
    assert len(scripts) == 5
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 120


def test_a_recipe_may_leave_out_what_has_a_default(run, tmp_path):
    from run import describe_configuration

    (tmp_path / "pretrain.yaml").write_text("n_embd: 64\nmax_steps: 10\n", encoding="utf-8")
    text = describe_configuration(tmp_path, run, None)
    assert "width 64" in text and f"{PretrainOptions().n_layer} layers" in text
    assert "10 steps of 16 x 256 tokens" in text


def test_the_home_folder_is_found_where_no_shell_replaces_it(monkeypatch, tmp_path):
    from run import ROOT, data_options, parse_options

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["run.py", "--output_dir=~/runs/a", "--corpus=~/poems"])
    options, words = parse_options()
    assert options.output_dir == f"{tmp_path}/runs/a"
    assert data_options(ROOT / "configs" / "sample", words).corpus == f"{tmp_path}/poems"


STAGE_THAT_WAITS = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
pathlib.Path({ready!r}).touch()
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX sends them")
def test_sigterm_is_handed_to_the_stage_which_decides(tmp_path, monkeypatch, interruptible):
    ready = tmp_path / "ready"
    (tmp_path / "train_sft.py").write_text(STAGE_THAT_WAITS.format(ready=str(ready)))
    monkeypatch.setattr(journey, "ROOT", tmp_path)

    def send_both() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)  # as Ctrl-C, which the stage gets from the terminal
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send_both, daemon=True).start()
    assert journey.train("sft", tmp_path, tmp_path / "run", None, False) == 130


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX sends them")
def test_a_killed_stage_has_the_exit_code_of_shells(tmp_path, monkeypatch, interruptible):
    (tmp_path / "train_sft.py").write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.setattr(journey, "ROOT", tmp_path)
    assert journey.train("sft", tmp_path, tmp_path / "run", None, False) == 137
