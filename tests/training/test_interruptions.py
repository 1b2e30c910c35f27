"""Ctrl-C at each phase of a training: what is kept, and that the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT, SMALL, history, losses, run_in_process
from transformers import Trainer

from poet import device, interrupts
from poet.data import blocks
from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.training import checkpoints, publishing
from poet.training.callbacks import ShowSample
from poet.training.trainer import PoetTrainerMixin

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX sends them")
SLOW = pytest.mark.slow
STEPS = "--max_steps 4 --eval_steps 2 --save_steps 100 --logging_steps 1 --plain true".split()


def train(folder: Path, *options: str) -> None:
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, *STEPS, *options]
    run_in_process("train_pretrain.py", *config, "--output_dir", str(folder))


@pytest.fixture(scope="module")
def whole(corpus_run) -> Path:
    """The folder of a training that nobody interrupts."""
    train(corpus_run / "pretrain")
    return corpus_run / "pretrain"


@pytest.fixture
def folder(corpus_run, tmp_path) -> Path:
    (tmp_path / "data").symlink_to(corpus_run / "data")
    return tmp_path / "pretrain"


def interrupt_in(monkeypatch, holder: type, name: str, step: int | None = None) -> None:
    """Sends Ctrl-C to this process in the middle of a function, once, at a step of training."""
    function, sent = getattr(holder, name), []

    def interrupted(self, *args, **kwargs):
        state = getattr(self, "state", None) or kwargs.get("state")
        if not sent and (step is None or state.global_step == step):
            sent.append(step)
            os.kill(os.getpid(), signal.SIGINT)
        return function(self, *args, **kwargs)

    monkeypatch.setattr(holder, name, interrupted)


def evaluations(folder: Path) -> list[tuple[int, float]]:
    return [(log["step"], log["eval_loss"]) for log in history(folder) if "eval_loss" in log]


@pytest.mark.parametrize(
    ("holder", "name", "step", "kept"),
    [
        pytest.param(
            PoetTrainerMixin, "training_step", 0, None, marks=SLOW
        ),  # the first step compiles
        (PoetTrainerMixin, "training_step", 2, 3),  # the step is finished
        pytest.param(PoetTrainerMixin, "training_step", 3, 4, marks=SLOW),  # the last step
        pytest.param(PoetTrainerMixin, "prediction_step", 0, None, marks=SLOW),
        (PoetTrainerMixin, "prediction_step", 2, 2),
        (Trainer, "get_batch_samples", 2, 3),  # between an evaluation and the next step
        pytest.param(Trainer, "log", 2, 2, marks=SLOW),  # the evaluation after it is due
        (Trainer, "_save_rng_state", 4, 4),  # the checkpoint is finished
        pytest.param(publishing, "publish", None, 4, marks=SLOW),
    ],
)
def test_an_interrupted_training_goes_on_where_it_stopped(
    monkeypatch, interruptible, whole, folder, capsys, holder, name, step, kept
):
    interrupt_in(monkeypatch, holder, name, step)
    with pytest.raises(KeyboardInterrupt):
        train(folder)
    assert checkpoints.last_checkpoint(folder) == (
        None if kept is None else folder / f"checkpoint-{kept}"
    )
    assert (f"checkpoint-{kept}" if kept else "has no checkpoint yet") in interrupts.kept()
    assert not checkpoints.is_finished(folder)
    interruptible()
    train(folder)
    assert not kept or f"resuming from {folder / f'checkpoint-{kept}'}" in capsys.readouterr().out
    assert losses(folder) == losses(whole) and evaluations(folder) == evaluations(whole)


def test_an_interrupted_sample_keeps_the_step(monkeypatch, interruptible, folder):
    write, written = ShowSample._write, []

    def interrupted(*args):
        if written:
            os.kill(os.getpid(), signal.SIGINT)
        written.append(write(*args))
        return written[-1]

    monkeypatch.setattr(ShowSample, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(folder)
    assert len(written) == 1 and checkpoints.last_checkpoint(folder) == folder / "checkpoint-2"


@SLOW
def test_a_checkpoint_that_may_be_the_best_one_is_not_saved_without_its_measure(
    monkeypatch, interruptible, folder
):
    interrupt_in(monkeypatch, PoetTrainerMixin, "training_step", 3)
    best = "--load_best_model_at_end true --save_steps 2 --metric_for_best_model loss"
    with pytest.raises(KeyboardInterrupt):
        train(folder, *best.split())
    assert checkpoints.last_checkpoint(folder) == folder / "checkpoint-2"


def test_an_interrupt_while_texts_become_tokens_leaves_nothing(monkeypatch, interruptible, folder):
    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(blocks, "encode_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(folder)
    assert not folder.exists()


def test_an_interrupt_while_data_sets_are_written_leaves_nothing(
    monkeypatch, interruptible, corpus_run, tmp_path
):
    import pyarrow.parquet

    def interrupted(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(pyarrow.parquet, "write_table", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_datasets(DataOptions(corpus=str(corpus_run / "poems.json")), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".data.lock"]


@SLOW
@pytest.mark.skipif(not device.has_compiler(), reason="torch.compile finds no compiler")
def test_an_interrupt_while_torch_compiles_ends_at_once_and_harms_no_kernel(folder, tmp_path):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, "--max_steps", "2"]
    words = [sys.executable, "-u", "train_pretrain.py", *config, "--torch_compile", "true"]
    words += ["--output_dir", str(folder)]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(words, cwd=ROOT, env=environment, **pipes)
    for line in process.stdout:
        if line.startswith("pretrain: "):
            break
    while process.poll() is None and not list((tmp_path / "kernels").rglob("*.cpp")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130, errors
    assert errors.endswith(
        f"{folder} has no checkpoint yet. Run the same command to start again.\n"
    )
    again = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert again.returncode == 0 and history(folder)[-1]["step"] == 2, again.stderr
