"""Blocks of pretraining text."""

import itertools
import json
import pickle

import pytest
from datasets import IterableDataset
from torch.utils.data import DataLoader

from poet.data.blocks import Blocks, encode_rows, eval_blocks, stream_blocks
from poet.data.build import build_datasets
from poet.data.options import DataOptions
from poet.data.run_data import characters, load_stage
from poet.errors import UserError
from poet_tokenizer import build_tokenizer


def test_blocks_differ_between_epochs_and_not_between_runs():
    ids = list(range(500))
    first_run, resumed_run = Blocks(ids, 48, seed=7), Blocks(ids, 48, seed=7)
    starts = []
    for epoch in (0, 1, 2):
        first_run.set_epoch(epoch)
        resumed_run.set_epoch(epoch)
        assert first_run[0]["input_ids"].equal(resumed_run[0]["input_ids"])
        starts.append(int(first_run[0]["input_ids"][0]))
    assert len(set(starts)) > 1


def test_a_worker_that_outlives_an_epoch_reads_the_blocks_of_the_next():
    rows = Blocks(list(range(500)), 48, seed=7)
    loader = DataLoader(rows, batch_size=None, num_workers=1, persistent_workers=True)
    starts = []
    for epoch in (0, 1, 2):
        rows.set_epoch(epoch)
        served = [int(block["input_ids"][0]) for block in loader]
        assert served == [int(rows[k]["input_ids"][0]) for k in range(len(rows))]
        starts.append(served[0])
    assert len(set(starts)) > 1


def test_a_text_needs_one_block_more_than_an_epoch():
    assert len(Blocks(list(range(96)), 48, seed=0)) == 1
    with pytest.raises(UserError, match="has 95 tokens. Training needs 96: 2 blocks of 48"):
        Blocks(list(range(95)), 48, seed=0)
    with pytest.raises(UserError, match="240: 5 blocks.*or per_device_train_batch_size"):
        Blocks(list(range(239)), 48, seed=0, min_blocks=4)


def test_evaluation_blocks_start_at_the_first_token():
    assert eval_blocks(list(range(8)), 3)["input_ids"][:] == [[0, 1, 2], [3, 4, 5]]
    assert eval_blocks([0, 1], 3)["labels"][:] == [[0, 1]]


def test_a_stream_repeats_the_text():
    texts = ["一二三四五，六七八九十。", "甲乙丙丁戊，己庚辛壬癸。"]
    tokenizer = build_tokenizer("".join(texts) + "\n", 64)
    rows = IterableDataset.from_generator(lambda: iter([{"text": text} for text in texts]))
    count = (sum(map(len, texts)) + 2 * len("\n\n")) // 8
    blocks = list(itertools.islice(stream_blocks(rows, tokenizer, 8), 3 * count))
    assert count > 2 and blocks[0] != blocks[1]
    assert blocks == 3 * blocks[:count]


def test_a_stream_can_be_sent_to_worker_processes(tmp_path, invented):
    (tmp_path / "poems.json").write_text(json.dumps(invented(60)), encoding="utf-8")
    build_datasets(DataOptions(corpus=str(tmp_path / "poems.json")), tmp_path)
    rows = load_stage(tmp_path, "pretrain", streaming=True)["train"]
    stream = stream_blocks(rows, build_tokenizer(characters(tmp_path), 16), 16)
    sent = pickle.loads(pickle.dumps(stream))  # so Python 3.14 starts its workers
    assert list(itertools.islice(sent, 5)) == list(itertools.islice(stream, 5))


def test_streamed_and_in_memory_rows_give_the_same_text(tmp_path, invented):
    (tmp_path / "poems.json").write_text(json.dumps(invented(60)), encoding="utf-8")
    build_datasets(DataOptions(corpus=str(tmp_path / "poems.json")), tmp_path)
    tokenizer = build_tokenizer(characters(tmp_path), 16)
    rows = load_stage(tmp_path, "pretrain")["train"]
    in_memory = eval_blocks(encode_rows(rows, tokenizer), 16)["input_ids"][:]
    streamed_rows = load_stage(tmp_path, "pretrain", streaming=True)["train"]
    assert encode_rows(streamed_rows, tokenizer) == encode_rows(rows, tokenizer)
    stream = stream_blocks(streamed_rows, tokenizer, 16)
    streamed = [block["input_ids"] for block in itertools.islice(stream, len(in_memory))]
    assert streamed == in_memory and len(in_memory) > 10
