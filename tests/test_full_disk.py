"""A full disk: one message and exit code 2, nothing lost, and the same command goes on."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers import ROOT, SMALL, history, losses, run_in_process
from matplotlib.figure import Figure
from safetensors.torch import save_file

from poet import errors, files
from poet.data import download
from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.errors import UserError
from poet.training import card, checkpoints, plots, publishing
from poet.training.callbacks import ShowSample
from poet.training.stage import Stage
from poet.training.trainer import PoetTrainerMixin
from poet_tokenizer import build_tokenizer

SLOW = pytest.mark.slow


class Disk:
    """A small disk of its own, which can be filled and emptied."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.filler = folder / "filler"

    def mount(self, options: str) -> None:
        self.folder.mkdir(exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        try:
            done = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no command `mount` here")
        if done.returncode:
            pytest.skip(f"a disk of its own cannot be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        with self.filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def empty(self) -> None:
        self.filler.unlink()


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk.folder)], capture_output=True)


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: files.write_text(folder / "a", "春" * 100_000),
    "safetensors": lambda folder: save_file({"a": torch.zeros(100_000)}, folder / "a"),
    "torch": lambda folder: torch.save(torch.zeros(100_000), folder / "a"),
    "tokenizer": lambda folder: build_tokenizer(map(chr, range(9999, 29999)), 9).save_pretrained(
        folder
    ),
    "figure": lambda folder: plots.save_figure(Figure(figsize=(40, 40)), folder / "a.png"),
}


@pytest.mark.parametrize("options", ["size=32k", "size=9m,nr_inodes=1"], ids=["bytes", "inodes"])
@pytest.mark.parametrize("writer", WRITERS)
def test_the_error_of_each_library_is_known(disk, writer, options):
    disk.mount(options)
    with pytest.raises(Exception) as error:
        WRITERS[writer](disk.folder)
    assert errors.disk_error(error.value), error.value


def test_other_errors_are_not_taken_for_a_full_disk():
    for error in (
        FileNotFoundError(2, "No such file"),
        ValueError("No such file or directory (os error 2)"),
        RuntimeError("size mismatch"),
    ):
        assert errors.disk_error(error) is None


@pytest.mark.parametrize("options", ["size=32k", "size=9m,nr_inodes=5"], ids=["bytes", "inodes"])
def test_data_sets_are_written_when_there_is_room(disk, tmp_path, invented, options):
    corpus = tmp_path / "poems.json"
    corpus.write_text(json.dumps(invented(120), ensure_ascii=False), encoding="utf-8")
    wanted = DataOptions(corpus=str(corpus))
    disk.mount(options)
    with pytest.raises(UserError, match=r"^cannot write .*/data: No space left on device\. Free"):
        build_datasets(wanted, disk.folder / "run")
    assert not {path.name for path in (disk.folder / "run").iterdir()} - {".data.lock"}
    subprocess.run(["mount", "-o", "remount,size=9m,nr_inodes=99", disk.folder], check=True)
    assert build_datasets(wanted, disk.folder / "run")["kept"] == 120


def test_a_download_names_another_cache(disk):
    disk.mount("size=32k")
    disk.fill()
    checksum = hashlib.sha256(b"[]").hexdigest()
    with pytest.raises(UserError, match="cannot write .*/a.json: No space left.*Set POET_CACHE"):
        download._keep(b"[]", disk.folder / "a.json", checksum, "GitHub")
    assert [path.name for path in disk.folder.iterdir()] == ["filler"]


def test_a_report_of_an_earlier_run_stays(disk):
    disk.mount("size=64k")
    path = disk.folder / "report.md"
    files.write_text(path, "old")
    program = (
        "from pathlib import Path\nfrom poet import errors, files\n"
        f"errors.run(lambda: files.write_text(Path({str(path)!r}), 'new' * 99_999))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    message = f"error: cannot write {path}: No space left on device. {errors.FREE_SPACE}\n"
    assert (done.returncode, done.stderr) == (2, message)
    assert path.read_text() == "old" and len(list(disk.folder.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_poems_that_go_to_a_full_disk_give_one_message():
    program = "from poet import errors\nerrors.run(lambda: print('春'))"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE
        )
    message = f"error: cannot write a file: No space left on device. {errors.FREE_SPACE}\n"
    assert (done.returncode, done.stderr.decode()) == (2, message)


# ------------------------------------------------------------------------------------ a training

STEPS = "--max_steps 4 --eval_steps 2 --save_steps 2 --logging_steps 1 --plain true".split()


@pytest.fixture(scope="module")
def whole(corpus_run) -> Path:
    """The folder of a training that has all the room it wants."""
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, *STEPS]
    run_in_process("train_pretrain.py", *config, "--output_dir", str(corpus_run / "pretrain"))
    return corpus_run / "pretrain"


@pytest.fixture
def train(disk, corpus_run, interruptible, capsys) -> Callable[[], tuple[int, str]]:
    """Trains on the small disk. Returns the exit code and stderr."""

    def train() -> tuple[int, str]:
        config = ["--config", "configs/tang/pretrain.yaml", *SMALL, *STEPS]
        folder = ["--output_dir", str(disk.folder / "pretrain")]
        if not (disk.folder / "data").exists():
            (disk.folder / "data").symlink_to(corpus_run / "data")
        with pytest.raises(SystemExit) as ended:
            errors.run(lambda: run_in_process("train_pretrain.py", *config, *folder))
        return ended.value.code or 0, capsys.readouterr().err

    return train


@pytest.mark.parametrize(
    ("holder", "name", "step", "kept"),
    [
        pytest.param(Stage, "begin", None, None, marks=SLOW),  # the record of the run
        pytest.param(ShowSample, "_write", None, None, marks=SLOW),  # samples.jsonl
        (PoetTrainerMixin, "training_step", 3, 2),  # the checkpoint of step 4
        pytest.param(publishing, "publish", None, 4, marks=SLOW),  # the final weights
        (plots, "draw_curves", None, 4),
        pytest.param(card, "write_card", None, 4, marks=SLOW),
    ],
)
def test_a_training_goes_on_when_there_is_room(
    disk, train, whole, monkeypatch, holder, name, step, kept
):
    function, filled = getattr(holder, name), []

    def fill_first(*args, **kwargs):
        if not filled and (step is None or args[0].state.global_step == step):
            filled.append(step)
            disk.fill()
        return function(*args, **kwargs)

    disk.mount("size=16m")
    monkeypatch.setattr(holder, name, fill_first)
    code, message = train()
    assert code == 2 and message.count("\n") == 1, message
    assert message.startswith(f"error: cannot write {disk.folder}/pretrain"), message
    folder = disk.folder / "pretrain"
    assert not (folder / "unfinished").exists() and not checkpoints.is_finished(folder)
    checkpoint = checkpoints.last_checkpoint(folder)
    assert checkpoint == (folder / f"checkpoint-{kept}" if kept else None)
    disk.empty()
    assert train() == (0, "")
    assert losses(folder) == losses(whole)
    evaluated = [[log for log in history(each) if "eval_loss" in log] for each in (folder, whole)]
    assert len(evaluated[0]) == len(evaluated[1])


def test_room_for_two_checkpoints_is_asked_for_before_training(disk, train):
    disk.mount("size=300k")
    code, message = train()
    assert code == 2 and "its checkpoints need" in message and message.count("\n") == 1, message
    assert not list(disk.folder.rglob("checkpoint-*"))
    subprocess.run(["mount", "-o", "remount,size=16m", disk.folder], check=True)
    assert train() == (0, "")


@SLOW
def test_a_full_disk_ends_all_processes_and_keeps_the_last_checkpoint(disk, whole, corpus_run):
    checkpoint = sum(path.stat().st_size for path in (whole / "checkpoint-2").iterdir())
    disk.mount(f"size={int(3.5 * checkpoint)}")
    (disk.folder / "data").symlink_to(corpus_run / "data")
    folder = disk.folder / "pretrain"
    words = [sys.executable, "-m", "accelerate.commands.launch"]
    words += ["--config_file", "configs/accelerate/cpu_2.yaml", "train_pretrain.py"]
    words += ["--config", "configs/tang/pretrain.yaml", *SMALL, *STEPS, "--max_steps", "9"]
    words += ["--save_steps", "1", "--save_total_limit", "9", "--output_dir", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode and done.stderr.count("error: cannot write") == 1, done.stderr
    last = checkpoints.last_checkpoint(folder)
    assert last is not None and not (folder / "unfinished").exists()
    subprocess.run(["mount", "-o", "remount,size=32m", disk.folder], check=True)
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert f"resuming from {last}" in again.stdout and len(losses(folder)) == 9, again.stderr
