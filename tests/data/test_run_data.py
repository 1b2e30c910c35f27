"""The data of a run. On the real corpus they have the figures of the original tutorial."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import datasets
import pytest
from helpers import ROOT
from trl import TrlParser

from poet.data.build import build_datasets, format_summary
from poet.data.options import DataOptions
from poet.data.run_data import STAGES, characters, load_stage, load_summary
from poet.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def arguments(recipe: str, **changes) -> DataOptions:
    parsed = TrlParser(cast(Any, [DataOptions])).parse_args_and_config(
        ["--config", str(CONFIGS / recipe / "data.yaml")]
    )[0]
    return DataOptions(**{**vars(parsed), **changes})


@pytest.fixture
def corpus(tmp_path, invented):
    """Writes a JSON file with a number of poems and returns its path."""

    def write(count: int) -> str:
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps(invented(count)), encoding="utf-8")
        return str(path)

    return write


# -------------------------------------------------------------------------- the Tang poems


@pytest.fixture(scope="module", params=["tutorial", "tang"])
def run(request, tang, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    build_datasets(arguments(request.param, corpus=tang), folder)
    return folder


def test_the_figures_equal_the_tutorials(run):
    summary = load_summary(run)
    assert summary["read"] == 57_016
    assert summary["kept"] == 47_457
    assert sum(summary["dropped"].values()) == 57_016 - 47_457
    assert summary["parts"] == {"pretrain": 23_728, "sft": 14_237, "dpo": 9_492}
    assert summary["pretrain_characters"] == 1_725_059
    assert summary["sft_items"] == 14_237
    assert summary["dpo_pairs"] == 5_342
    assert summary["identical_pairs"] == 0
    assert summary["characters"] == 4_052_248
    assert summary["distinct_characters"] == 8_548
    assert summary["first_item"] == "端午三殿侍宴應制探得魚字"
    assert summary["first_pair"] == ["宿壽安甘棠館 二", "遣懷"]
    assert summary["pretrain_head"].startswith("東歸留辭沈侍郎\n")
    head = hashlib.sha256(summary["pretrain_head"].encode()).hexdigest()
    assert len(summary["pretrain_head"]) == 100
    assert head == "5a9937f360d9cf38364add8e5ff0904d88c952e94b5418c047f7fd68267b15e0"


def test_the_summary_prints_every_figure(run):
    text = format_summary(load_summary(run))
    for figure in (
        "57,016",
        "47,457",
        "23,728",
        "14,237",
        "9,492",
        "1,725,059",
        "5,342",
        "4,052,248",
        "8,548",
    ):
        assert figure in text
    for title in ("東歸留辭沈侍郎", "端午三殿侍宴應制探得魚字", "宿壽安甘棠館 二", "遣懷"):
        assert title in text


def test_copies_across_parts_are_counted(run):
    assert load_summary(run)["copies"] == {"poems": 1_419, "across_parts": 891}


def test_the_last_tenth_is_held_out(run):
    texts = {name: "\n\n".join(rows["text"]) for name, rows in load_stage(run, "pretrain").items()}
    assert {name: len(text) for name, text in texts.items()} == {
        "train": 1_552_553,
        "test": 172_506,
    }
    assert {name: len(rows) for name, rows in load_stage(run, "sft").items()} == {
        "train": 12_813,
        "test": 1_424,
    }
    assert {name: len(rows) for name, rows in load_stage(run, "dpo").items()} == {
        "train": 4_807,
        "test": 535,
    }


def test_the_rows_match_the_summary(run):
    summary = load_summary(run)
    text = "".join("\n\n".join(rows["text"]) for rows in load_stage(run, "pretrain").values())
    assert len(text) == 1_725_059 and text.startswith(summary["pretrain_head"])
    item = load_stage(run, "sft")["train"][0]
    assert item["prompt"] == [{"role": "user", "content": summary["first_item"]}]
    assert [message["role"] for message in item["completion"]] == ["assistant"]


def test_pairs_have_one_prompt_and_two_kinds_of_poems(run):
    for rows in load_stage(run, "dpo").values():
        for row in rows:
            assert [message["role"] for message in row["prompt"]] == ["user"]
            chosen, rejected = (
                row[side][0]["content"].split("\n") for side in ("chosen", "rejected")
            )
            assert all(len(line) == 12 for line in chosen) and not all(
                len(line) == 12 for line in rejected
            )
    assert load_stage(run, "dpo")["train"][0]["prompt"][0]["content"] == "宿壽安甘棠館 二"


def test_other_corpora_keep_copies_together(tmp_path, invented):
    poems = invented(60)
    copies = [{**poem, "title": f"又{poem['title']}"} for poem in poems]
    path = tmp_path / "poems.json"
    path.write_text(json.dumps(poems + copies), encoding="utf-8")
    assert build_datasets(arguments("tang", corpus=str(path)), tmp_path)["copies"] == {
        "poems": 120,
        "across_parts": 0,
    }
    apart = build_datasets(arguments("tutorial", corpus=str(path)), tmp_path / "seed")["copies"]
    assert apart["poems"] == 120 and apart["across_parts"] > 0


# --------------------------------------------------------------------------------- run folder


def test_datasets_loads_each_stage(tmp_path, corpus):
    # The library finds splits by the names of files and folders.
    run = tmp_path / "a train and test run"
    build_datasets(arguments("tang", corpus=corpus(60)), run)
    columns = {
        "pretrain": {"text"},
        "sft": {"prompt", "completion"},
        "dpo": {"prompt", "chosen", "rejected"},
    }
    for stage in STAGES:
        loaded = datasets.load_dataset(str(run / "data" / stage), cache_dir=str(tmp_path / "cache"))
        ours = load_stage(run, stage)
        assert list(loaded) == list(ours) == ["train", "test"]
        for name in ours:
            assert loaded[name].features == ours[name].features
            assert list(loaded[name]) == list(ours[name])
            assert set(ours[name].features) == columns[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_streamed_rows_equal_rows_in_memory(tmp_path, corpus, stage):
    build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    in_memory, streamed = load_stage(tmp_path, stage), load_stage(tmp_path, stage, streaming=True)
    assert list(in_memory) == list(streamed) == ["train", "test"]
    for name in in_memory:
        assert list(in_memory[name]) == list(streamed[name]) != []


def test_finished_data_are_not_made_again(tmp_path, corpus, monkeypatch):
    args = arguments("tang", corpus=corpus(60))
    summary = build_datasets(args, tmp_path)
    monkeypatch.setattr(
        "poet.data.items.usable_poems", lambda *_: pytest.fail("the corpus was read again")
    )
    assert build_datasets(args, tmp_path) == summary == load_summary(tmp_path)


def test_a_copy_of_the_corpus_is_the_same_run(tmp_path, corpus):
    path = Path(corpus(60))
    summary = build_datasets(arguments("tang", corpus=str(path)), tmp_path)
    moved = path.rename(tmp_path / "moved.json")
    assert build_datasets(arguments("tang", corpus=str(moved)), tmp_path) == summary


def test_data_of_another_run_are_refused_and_kept(tmp_path, corpus):
    build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    before = (tmp_path / "data" / "summary.json").read_bytes()
    with pytest.raises(UserError, match=r"another run \(held_out was 0.1, is 0.2\).*--output_dir"):
        build_datasets(arguments("tang", corpus=corpus(60), held_out=0.2), tmp_path)
    with pytest.raises(UserError, match=r"run \(it was made from other texts\).*--output_dir"):
        build_datasets(arguments("tang", corpus=corpus(61)), tmp_path)
    assert (tmp_path / "data" / "summary.json").read_bytes() == before


def test_data_from_before_an_option_existed_are_taken(tmp_path, corpus):
    args = arguments("tang", corpus=corpus(60))
    build_datasets(args, tmp_path)
    path = tmp_path / "data" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    del summary["made_from"]["author_column"], summary["made_from"]["copies_together"]
    path.write_text(json.dumps(summary), encoding="utf-8")
    assert build_datasets(args, tmp_path) == summary
    with pytest.raises(UserError, match=r"\(copies_together was None, is True\)"):
        build_datasets(arguments("tang", corpus=corpus(60), copies_together=True), tmp_path)


def test_data_that_were_split_with_another_seed_are_refused(tmp_path, corpus):
    args = arguments("tang", corpus=corpus(60))
    build_datasets(args, tmp_path)
    path = tmp_path / "data" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert summary["made_from"]["seed"] == 2024  # as versions with the option `seed` wrote it
    summary["made_from"]["seed"] = 7
    path.write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(UserError, match=r"\(seed was 7, is 2024\)\. Pass another --output_dir"):
        build_datasets(args, tmp_path)


def test_a_foreign_folder_is_refused(tmp_path, corpus):
    mine = tmp_path / "data" / "thesis.doc"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(UserError, match=r"holds thesis\.doc"):
        build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    assert mine.exists()


def test_an_interrupted_write_leaves_nothing(tmp_path, corpus, monkeypatch):
    args = arguments("tang", corpus=corpus(60))
    with monkeypatch.context() as patch:
        patch.setattr(
            json,
            "dumps",
            lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
        with pytest.raises(UserError, match="cannot write .*data: No space left on device"):
            build_datasets(args, tmp_path / "run")
    assert not (tmp_path / "run" / "data").exists()
    with pytest.raises(UserError, match="--stages data"):
        load_stage(tmp_path / "run", "sft")
    build_datasets(args, tmp_path / "run")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left - {".data.lock"} == {"data"}


def test_data_without_a_summary_are_made_again(tmp_path, corpus):
    args = arguments("tang", corpus=corpus(60))
    summary = build_datasets(args, tmp_path)
    (tmp_path / "data" / "summary.json").unlink()
    (tmp_path / "data" / "sft" / "train.parquet").write_bytes(b"half")
    assert build_datasets(args, tmp_path) == summary
    assert len(load_stage(tmp_path, "sft")["train"]) == summary["rows"]["sft"]["train"]


def test_rows_never_come_from_a_cache(tmp_path, corpus):
    for count in (60, 80):
        build_datasets(arguments("tang", corpus=corpus(count)), tmp_path / "run")
        assert len(load_stage(tmp_path / "run", "sft")["train"]) == count * 3 // 10 * 9 // 10
        for path in sorted((tmp_path / "run").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def test_missing_data_are_an_error_with_the_command(tmp_path):
    for read in (load_summary, characters, lambda run: load_stage(run, "dpo")):
        with pytest.raises(UserError, match="python run.py --recipe RECIPE --stages data"):
            read(tmp_path)


def test_a_broken_file_is_named(tmp_path, corpus):
    build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    (tmp_path / "data" / "sft" / "train.parquet").write_bytes(b"half")
    with pytest.raises(UserError, match="sft is broken"):
        load_stage(tmp_path, "sft")


def test_characters_cover_every_column(tmp_path, corpus):
    build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    rows = [
        row for stage in STAGES for half in load_stage(tmp_path, stage).values() for row in half
    ]
    texts = [row["text"] for row in rows if "text" in row]
    texts += [
        message["content"] for row in rows for key in row if key != "text" for message in row[key]
    ]
    assert characters(tmp_path) == sorted(set("".join(texts)))


# ------------------------------------------------------------------------- small corpora


@pytest.mark.parametrize(("count", "found"), [(1, "1 usable poem is"), (2, "2 usable poems are")])
def test_too_few_poems_are_refused(tmp_path, corpus, count, found):
    with pytest.raises(UserError, match=f"{found} too few.*At least 3 different ones"):
        build_datasets(arguments("sample", corpus=corpus(count)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", [30, 60])
def test_no_set_is_empty(tmp_path, corpus, count):
    summary = build_datasets(arguments("sample", corpus=corpus(count)), tmp_path)
    assert min(rows for halves in summary["rows"].values() for rows in halves.values()) >= 1


def test_a_corpus_of_one_form_is_split_between_the_other_stages(tmp_path, invented):
    path = tmp_path / "five.json"
    path.write_text(json.dumps(invented(80)[::2]), encoding="utf-8")
    summary = build_datasets(arguments("sample", corpus=str(path)), tmp_path)
    assert summary["parts"] == {"pretrain": 25, "sft": 15, "dpo": 0}
    assert summary["left_out"]["dpo"].startswith(
        "Alignment is left out: too few pairs can be formed: all poems are five-character. "
        "Choose another --preference: five-character, "
    )
    assert summary["left_out"]["dpo"] in format_summary(summary)


def test_identical_pairs_are_dropped(tmp_path, invented):
    same = invented(1)[0]["paragraphs"]
    poems = [
        {**poem, "paragraphs": same if k % 3 else poem["paragraphs"]}
        for k, poem in enumerate(invented(120))
    ]
    path = tmp_path / "poems.json"
    path.write_text(json.dumps(poems), encoding="utf-8")
    summary = build_datasets(
        arguments("tutorial", corpus=str(path), preference="helpers:title_is_odd"), tmp_path
    )
    rows = [row for half in load_stage(tmp_path, "dpo").values() for row in half]
    assert summary["identical_pairs"] > 0 and summary["dpo_pairs"] == len(rows)
    assert all(row["chosen"] != row["rejected"] for row in rows)
    assert "identical ones dropped" in format_summary(summary)


def test_identical_pairs_alone_leave_alignment_out(tmp_path, invented):
    path = tmp_path / "same.json"
    path.write_text(
        json.dumps([{**poem, "paragraphs": ["甲", "乙"]} for poem in invented(60)]),
        encoding="utf-8",
    )
    options = arguments("tutorial", corpus=str(path), preference="helpers:title_is_odd")
    assert (
        "none of 6 pairs has two different" in build_datasets(options, tmp_path)["left_out"]["dpo"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": [5, 3]}, "three whole numbers"),
        ({"split": [5, 3, 0]}, "three whole numbers"),
        ({"split": 5}, "three whole numbers"),
        ({"held_out": 0}, "between 0 and 1"),
        ({"held_out": 1.5}, "between 0 and 1"),
        ({"preference": "six-character"}, "five-character, seven-character, quatrain"),
    ],
)
def test_a_bad_option_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        arguments("tang", **changes)


# ------------------------------------------------------------------- folders with unusual names


@pytest.mark.parametrize("name", ["a[1]", "b*", "c?", "[!d]", "{e,f}", "春 夜#%20"])
def test_a_stream_is_read_from_a_folder_whatever_its_name(corpus, tmp_path, name):
    options = DataOptions(corpus=corpus(60), preference="five-character")
    build_datasets(options, tmp_path / name)
    at_once = load_stage(tmp_path / name, "pretrain")["train"]["text"]
    stream = load_stage(tmp_path / name, "pretrain", streaming=True)["train"]
    assert [row["text"] for row in stream] == list(at_once)


def test_two_commands_do_not_write_the_data_of_one_run(corpus, tmp_path):
    options = DataOptions(corpus=corpus(60), preference="five-character")
    words = (
        "import time; from pathlib import Path; from poet.files import lock; "
        f"lock(Path({str(tmp_path / 'run' / 'data')!r})); print('locked', flush=True); "
        "time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", words], cwd=ROOT, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline()
    with other, pytest.raises(UserError, match=rf"another command writes .*{other.pid}"):
        try:
            build_datasets(options, tmp_path / "run")
        finally:
            other.kill()
    build_datasets(options, tmp_path / "run")
    assert load_summary(tmp_path / "run")["kept"] == 60
