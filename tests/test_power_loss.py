"""After a power cut, a file or folder with its final name is whole: contents first, then the name.

An audit hook sees each opening and each renaming. `os.fsync` is watched as well. When a name is
given, the contents must have been synced after their last change. Afterwards, the folder that holds
the name must be synced.
"""

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import SMALL, run_in_process
from matplotlib.figure import Figure
from transformers import TrainerState

from poet import files
from poet.data import download
from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.training import checkpoints
from poet.training.callbacks import ShowSample
from poet.training.plots import save_figure

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="names of open files are read from Linux's /proc"
)


class Journal:
    """Watches a folder, and collects what a power cut could destroy."""

    def __init__(self, folder: Path):
        self.folder, self.faults = folder, []
        self.synced: dict[Path, tuple] = {}  # path -> its state when it was last synced
        self.unsynced_names: dict[Path, Path] = {}  # folder -> the last name that it was given
        self.renamed: list[str] = []

    def state(self, path: Path) -> tuple:
        stat = path.stat()
        return stat.st_ino, stat.st_size if path.is_file() else 0, stat.st_mtime_ns

    def on_sync(self, path: Path) -> None:
        self.synced[path] = self.state(path)
        self.unsynced_names.pop(path, None)

    def on_event(self, event: str, arguments: tuple) -> None:
        if event not in ("open", "os.rename"):
            return
        if not isinstance(arguments[0], (str, os.PathLike)):  # a descriptor
            return
        if event == "open":
            path, creates = Path(arguments[0]), arguments[2] & (os.O_CREAT | os.O_TRUNC)
            if creates and self.is_final(path) and path.is_relative_to(self.folder):
                self.faults.append(f"{path.name} is written under its final name")
            return
        source, target = Path(arguments[0]), Path(arguments[1])
        if not target.is_relative_to(self.folder) or not self.is_final(target):
            return
        self.renamed.append(target.name)
        for part in (source, *source.rglob("*")):
            if self.synced.get(part) != self.state(part):
                self.faults.append(f"{target.name} gets its name before {part.name} is synced")
        self.unsynced_names[target.parent] = target

    @staticmethod
    def is_final(path: Path) -> bool:
        return not any(
            part == checkpoints.UNFINISHED or part.endswith((".part", ".partial", ".lock"))
            for part in path.parts
        )

    def all_faults(self) -> list[str]:
        names = [f"the name {path.name} is not synced" for path in self.unsynced_names.values()]
        return self.faults + names


JOURNALS: list[Journal] = []  # an audit hook cannot be removed
sys.addaudithook(lambda event, arguments: [each.on_event(event, arguments) for each in JOURNALS])


@pytest.fixture
def journal(tmp_path, monkeypatch) -> Iterator[Journal]:
    journal, fsync = Journal(tmp_path), os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        journal.on_sync(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", watched)
    JOURNALS.append(journal)
    yield journal
    JOURNALS.remove(journal)


def test_the_journal_finds_what_is_not_synced(journal, tmp_path):
    (tmp_path / "a.part").write_text("a")
    os.replace(tmp_path / "a.part", tmp_path / "a")
    (tmp_path / "b").write_text("b")
    assert journal.all_faults() == [
        "a gets its name before a.part is synced",
        "b is written under its final name",
        "the name a is not synced",
    ]


def test_texts_and_figures_are_synced(journal, tmp_path):
    files.write_text(tmp_path / "a.txt", "春")
    files.write_text(tmp_path / "a.txt", "夏")
    save_figure(Figure(), tmp_path / "curves.png")
    assert journal.renamed == ["a.txt", "a.txt", "curves.png"] and journal.all_faults() == []


def test_downloads_are_synced(journal, tmp_path, monkeypatch):
    monkeypatch.setenv("POET_CACHE", str(tmp_path / "cache"))
    content = b"[]"
    sums = {"a.json": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"}
    monkeypatch.setattr(download, "checksums", lambda name: sums)
    monkeypatch.setattr(download.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(content))
    (path,) = download.fetch("tang")
    assert path.read_bytes() == content
    assert journal.renamed == ["a.json"] and journal.all_faults() == []


def test_data_sets_are_synced(journal, tmp_path, invented):
    corpus = tmp_path / "poems.json"
    files.write_text(corpus, json.dumps(invented(60), ensure_ascii=False))
    build_datasets(DataOptions(corpus=str(corpus)), tmp_path / "runs" / "mine")
    assert journal.renamed == ["poems.json", "data"] and journal.all_faults() == []


def test_samples_are_synced(journal, tmp_path, monkeypatch):
    stage = SimpleNamespace(
        samples=tmp_path / "samples.jsonl",
        sample_title="春",
        name="pretrain",
        options=SimpleNamespace(plain=True),
    )
    show = ShowSample(stage, None, text=None)
    monkeypatch.setattr(show, "_write", lambda model, seed: "春")
    state, args = TrainerState(global_step=2), SimpleNamespace(device=torch.device("cpu"), seed=0)
    for _ in range(2):
        show.on_evaluate(args, state, None, {"eval_loss": 1.0})
    show.on_train_begin(None, state, None)
    lines = stage.samples.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 2]
    assert journal.renamed == ["samples.jsonl"] * 3 and journal.all_faults() == []


def test_a_stage_is_synced_from_its_claim_to_its_publication(journal, tmp_path, invented):
    files.write_text(tmp_path / "poems.json", json.dumps(invented(120), ensure_ascii=False))
    build_datasets(DataOptions(corpus=str(tmp_path / "poems.json")), tmp_path / "run")
    folder = tmp_path / "run" / "pretrain"
    options = [
        "--max_steps",
        "4",
        "--eval_steps",
        "2",
        "--save_total_limit",
        "1",
        "--plain",
        "true",
    ]
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, *options]
    run_in_process("train_pretrain.py", *config, "--output_dir", str(folder))
    assert journal.all_faults() == []
    assert {"_arguments.json", "checkpoint-2", "checkpoint-4"} <= set(journal.renamed)
    assert journal.renamed[-1] == "trainer_state.json"  # the mark of completion
    assert not (folder / checkpoints.UNFINISHED).exists()
