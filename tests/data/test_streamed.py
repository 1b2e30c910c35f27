"""A corpus larger than memory: the same poems, in files of a bounded size."""

import json
import subprocess
import sys

import pytest
import torch
from helpers import ROOT

from poet.data import streamed
from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.data.rows import content
from poet.data.run_data import STAGES, characters, load_stage, sample_title
from poet.errors import UserError


@pytest.fixture
def many_parts(monkeypatch):
    monkeypatch.setattr(streamed, "_BUCKET_BYTES", 4_000)


def rows_of(run, stage):
    return {half: list(rows) for half, rows in load_stage(run, stage).items()}


def make(tmp_path, records, name="run", **options):
    path = tmp_path / "poems.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    rules = DataOptions(corpus=str(path), streaming=True, min_couplets=1, **options)
    return build_datasets(rules, tmp_path / name)


@pytest.mark.usefixtures("many_parts")
def test_each_poem_goes_to_one_stage_and_one_half(tmp_path, invented):
    poems = invented(400)
    summary = make(tmp_path, poems)
    run = tmp_path / "run"
    used = [
        row["text"].split("\n")[0] for half in rows_of(run, "pretrain").values() for row in half
    ]
    for stage, key in (("sft", "prompt"), ("dpo", "prompt")):
        used += [content(row[key]) for half in rows_of(run, stage).values() for row in half]
    assert len(set(used)) == len(used)
    others = summary["kept"] - len(used)  # poems that are rejected in pairs, or in no pair
    assert summary["kept"] == 400 and {poem["title"] for poem in poems} >= set(used)
    assert 0 < others < 80
    assert len(list((run / "data" / "pretrain").glob("train-*.parquet"))) > 2
    assert not (run / "data" / "parts").exists()
    sizes = summary["rows"]
    assert 150 < sum(sizes["pretrain"].values()) < 250 > sum(sizes["sft"].values()) > 80
    assert 5 < sizes["pretrain"]["test"] < 50


@pytest.mark.usefixtures("many_parts")
def test_copies_stay_together_and_the_same_seed_gives_the_same_files(tmp_path, invented):
    poems = invented(120)
    copies = [{**poem, "title": f"又{poem['title']}"} for poem in poems]
    first = make(tmp_path, poems + copies)
    again = make(tmp_path, poems + copies, "again")
    assert first["rows"] == again["rows"]
    for stage in STAGES:
        assert rows_of(tmp_path / "run", stage) == rows_of(tmp_path / "again", stage)
    halves = rows_of(tmp_path / "run", "pretrain")
    texts = [{row["text"].partition("\n")[2] for row in halves[half]} for half in halves]
    assert not texts[0] & texts[1]


@pytest.mark.usefixtures("many_parts")
def test_the_summary_counts_what_the_files_hold(tmp_path, invented):
    summary = make(tmp_path, invented(200))
    run = tmp_path / "run"
    text = [row["text"] for half in rows_of(run, "pretrain").values() for row in half]
    assert summary["pretrain_characters"] == len("\n\n".join(text))
    assert summary["distinct_characters"] == len(characters(run))
    assert sample_title(run) in {content(row["prompt"]) for row in rows_of(run, "sft")["test"]}


def test_rows_of_other_shapes_are_used_by_each_stage(tmp_path):
    records = [{"prompt": f"p{k}", "chosen": f"c{k}", "rejected": f"r{k}"} for k in range(300)]
    summary = make(tmp_path, records)
    sizes = {stage: sum(halves.values()) for stage, halves in summary["rows"].items()}
    assert sizes == dict.fromkeys(STAGES, 300) and summary["left_out"] == {}


def test_a_stage_without_data_is_left_out(tmp_path, invented):
    summary = make(tmp_path, invented(200)[::2])
    assert "too few pairs can be formed" in summary["left_out"]["dpo"]
    summary = make(tmp_path, [{"text": f"Once there were {k} ships."} for k in range(200)], "prose")
    assert set(summary["left_out"]) == {"sft", "dpo"}
    assert [len(rows) for rows in load_stage(tmp_path / "prose", "sft").values()] == [0, 0]


def test_what_needs_all_poems_in_memory_is_refused(tmp_path, invented):
    with pytest.raises(UserError, match="Leave streaming out"):
        make(tmp_path, invented(20), preference="novel")
    with pytest.raises(UserError, match="too few to stream"):
        make(tmp_path, invented(3), "few")


def test_what_the_first_texts_show_is_refused_before_a_folder_is_made(tmp_path, invented):
    for poems, options in ([], {}), (invented(20), {"lines_column": "verse"}):
        with pytest.raises(UserError):
            make(tmp_path, poems, **options)
        assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("many_parts")
@pytest.mark.parametrize("workers", [0, 2, 3])
def test_workers_read_each_row_once(tmp_path, invented, workers):
    make(tmp_path, invented(300))
    stream = load_stage(tmp_path / "run", "pretrain", streaming=True)["train"]
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers)
    read = sorted(row["text"] for row in loader)
    assert read == sorted(row["text"] for row in load_stage(tmp_path / "run", "pretrain")["train"])


@pytest.mark.slow
@pytest.mark.usefixtures("many_parts")
def test_two_processes_read_each_row_once(tmp_path, invented):
    make(tmp_path, invented(300))
    script = tmp_path / "read.py"
    script.write_text(READ.format(run=tmp_path / "run", out=tmp_path), encoding="utf-8")
    command = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=ROOT
    )
    outputs = [json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in range(2)]
    assert all(outputs), done.stderr
    rows = load_stage(tmp_path / "run", "pretrain")["train"]
    read = [size for both in zip(*outputs, strict=True) for size in both]
    # The last row may come twice, so that both processes have as many. Training never gets there.
    assert sorted(read[: len(rows)]) == sorted(len(row["text"]) for row in rows)
    assert len(read) - len(rows) in (0, 1)


# Trainer prepares its loader in the same way.
READ = """
import json, sys
sys.path.insert(0, ".")
import torch
from accelerate import Accelerator
from poet.data.run_data import load_stage

def collate(rows):
    return {{"size": torch.tensor([len(row["text"]) for row in rows])}}

rows = load_stage("{run}", "pretrain", streaming=True)["train"]
accelerator = Accelerator(cpu=True)
loader = accelerator.prepare(torch.utils.data.DataLoader(rows, batch_size=1, collate_fn=collate))
sizes = [int(size) for batch in loader for size in batch["size"]]
with open(f"{out}/{{accelerator.process_index}}.json", "w") as file:
    json.dump(sizes, file)
"""
