"""From poems to the three sets of a run, and the figures of the tutorial on the real corpus."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import datasets
import pytest
from trl import TrlParser

from poet.data import preferences
from poet.data.poems import Poem
from poet.data.run_data import (
    STAGES,
    DataOptions,
    build_datasets,
    characters,
    format_summary,
    load_stage,
    load_summary,
)
from poet.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def arguments(recipe: str, **changes) -> DataOptions:
    parsed = TrlParser(cast(Any, [DataOptions])).parse_args_and_config(
        ["--config", str(CONFIGS / recipe / "data.yaml")]
    )[0]
    return DataOptions(**{**vars(parsed), **changes})


@pytest.fixture
def corpus(tmp_path, invented):
    """(number of poems) -> a JSON file of so many."""

    def write(count: int) -> str:
        path = tmp_path / f"{count}.json"
        path.write_text(json.dumps(invented(count)), encoding="utf-8")
        return str(path)

    return write


# ------------------------------------------------------------------------------------ the tutorial's figures


@pytest.fixture(scope="module", params=["tutorial", "tang"])
def run(request, tang, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    build_datasets(arguments(request.param, corpus=tang), folder)
    return folder


def test_the_figures_are_the_tutorials(run):
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


def test_the_first_stage_tells_every_figure(run):
    told = format_summary(load_summary(run))
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
        assert figure in told
    for title in ("東歸留辭沈侍郎", "端午三殿侍宴應制探得魚字", "宿壽安甘棠館 二", "遣懷"):
        assert title in told


def test_copies_fall_where_they_fall_and_are_counted(run):
    assert load_summary(run)["copies"] == {"poems": 1_419, "across_parts": 891}


def test_nine_tenths_train_and_the_last_tenth_evaluates(run):
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


def test_the_rows_say_what_the_summary_says(run):
    summary = load_summary(run)
    text = "".join("\n\n".join(rows["text"]) for rows in load_stage(run, "pretrain").values())
    assert len(text) == 1_725_059 and text.startswith(summary["pretrain_head"])
    item = load_stage(run, "sft")["train"][0]
    assert item["prompt"] == [{"role": "user", "content": summary["first_item"]}]
    assert [message["role"] for message in item["completion"]] == ["assistant"]


def test_both_sides_of_a_pair_answer_the_chosen_title(run):
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


def test_another_corpus_than_the_tutorials_keeps_copies_together(tmp_path, invented):
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


# -------------------------------------------------------------------------------------------- what is written


def test_load_dataset_of_a_folder_gives_train_and_test(tmp_path, corpus):
    run = (
        tmp_path / "a train and test run"
    )  # the library finds splits by the names of files and folders
    build_datasets(arguments("tang", corpus=corpus(60)), run)
    for stage in STAGES:
        loaded = datasets.load_dataset(str(run / "data" / stage), cache_dir=str(tmp_path / "cache"))
        ours = load_stage(run, stage)
        streamed = load_stage(run, stage, streaming=True)
        assert list(loaded) == list(ours) == list(streamed) == ["train", "test"]
        for name in ours:
            assert loaded[name].features == ours[name].features
            assert list(loaded[name]) == list(ours[name]) == list(streamed[name])
    assert set(load_stage(run, "pretrain")["train"].features) == {"text"}
    assert set(load_stage(run, "sft")["train"].features) == {"prompt", "completion"}
    assert set(load_stage(run, "dpo")["train"].features) == {"prompt", "chosen", "rejected"}


def test_the_same_run_again_is_skipped(tmp_path, corpus, monkeypatch):
    args = arguments("tang", corpus=corpus(60))
    summary = build_datasets(args, tmp_path)
    monkeypatch.setattr(
        "poet.data.run_data.read_corpus", lambda *_: pytest.fail("the corpus was read again")
    )
    assert build_datasets(args, tmp_path) == summary == load_summary(tmp_path)


def test_a_copy_of_the_corpus_is_the_same_run(tmp_path, corpus):
    path = Path(corpus(60))
    summary = build_datasets(arguments("tang", corpus=str(path)), tmp_path)
    moved = path.rename(tmp_path / "moved.json")
    assert build_datasets(arguments("tang", corpus=str(moved)), tmp_path) == summary


def test_another_run_is_refused_and_left_alone(tmp_path, corpus):
    build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    before = (tmp_path / "data" / "summary.json").read_bytes()
    with pytest.raises(
        UserError, match=r"holds another run \(seed 2024 there, 7 now\).*--output_dir"
    ):
        build_datasets(arguments("tang", corpus=corpus(60), seed=7), tmp_path)
    with pytest.raises(UserError, match=r"holds another run \(fingerprint .*--output_dir"):
        build_datasets(arguments("tang", corpus=corpus(61)), tmp_path)
    assert (tmp_path / "data" / "summary.json").read_bytes() == before


def test_a_folder_that_is_not_ours_is_refused(tmp_path, corpus):
    mine = tmp_path / "data" / "thesis.doc"
    mine.parent.mkdir()
    mine.write_text("years of work")
    with pytest.raises(UserError, match=r"holds thesis\.doc"):
        build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    assert mine.exists()


def test_a_run_cut_off_while_writing_leaves_nothing_and_starts_anew(tmp_path, corpus, monkeypatch):
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
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["data"]


def test_stages_that_a_kill_left_without_a_summary_are_made_anew(tmp_path, corpus):
    args = arguments("tang", corpus=corpus(60))
    summary = build_datasets(args, tmp_path)
    (tmp_path / "data" / "summary.json").unlink()
    (tmp_path / "data" / "sft" / "train.parquet").write_bytes(b"half")
    assert build_datasets(args, tmp_path) == summary
    assert len(load_stage(tmp_path, "sft")["train"]) == summary["rows"]["sft"]["train"]


def test_no_older_rows_come_back_from_a_cache(tmp_path, corpus):
    for count in (60, 80):
        build_datasets(arguments("tang", corpus=corpus(count)), tmp_path / "run")
        assert len(load_stage(tmp_path / "run", "sft")["train"]) == count * 3 // 10 * 9 // 10
        for path in sorted((tmp_path / "run").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()


def test_missing_data_names_the_command(tmp_path):
    for read in (load_summary, characters, lambda run: load_stage(run, "dpo")):
        with pytest.raises(UserError, match="python run.py --recipe R --stages data"):
            read(tmp_path)


def test_a_broken_file_is_named(tmp_path, corpus):
    build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    (tmp_path / "data" / "sft" / "train.parquet").write_bytes(b"half")
    with pytest.raises(UserError, match="sft is broken"):
        load_stage(tmp_path, "sft")


def test_the_characters_are_those_of_every_column(tmp_path, corpus):
    build_datasets(arguments("tang", corpus=corpus(60)), tmp_path)
    rows = [
        row for stage in STAGES for half in load_stage(tmp_path, stage).values() for row in half
    ]
    texts = [row["text"] for row in rows if "text" in row]
    texts += [
        message["content"] for row in rows for key in row if key != "text" for message in row[key]
    ]
    assert characters(tmp_path) == sorted(set("".join(texts)))


# ------------------------------------------------------------------------------------- small and odd corpora


@pytest.mark.parametrize("count", range(1, 11))
def test_too_few_poems_say_how_many_are_needed(tmp_path, corpus, count):
    with pytest.raises(
        UserError, match=f"{count} usable poems are too few.*At least 11 different ones"
    ):
        build_datasets(arguments("sample", corpus=corpus(count)), tmp_path)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("count", [30, 60])
def test_no_set_is_ever_empty(tmp_path, corpus, count):
    summary = build_datasets(arguments("sample", corpus=corpus(count)), tmp_path)
    assert min(rows for halves in summary["rows"].values() for rows in halves.values()) >= 1


def test_a_corpus_of_one_kind_says_what_alignment_lacks(tmp_path, invented):
    path = tmp_path / "five.json"
    path.write_text(json.dumps(invented(80)[::2]), encoding="utf-8")
    with pytest.raises(
        UserError, match="8 preferred and 0 others.*another --preference: five-character"
    ):
        build_datasets(arguments("sample", corpus=str(path)), tmp_path)


def test_identical_pairs_are_counted_and_dropped(tmp_path, invented):
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


def test_nothing_but_identical_pairs_is_refused(tmp_path, invented):
    path = tmp_path / "same.json"
    path.write_text(
        json.dumps([{**poem, "paragraphs": ["甲", "乙"]} for poem in invented(60)]),
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="needs 2 pairs of different poems and has 0"):
        build_datasets(
            arguments("tutorial", corpus=str(path), preference="helpers:title_is_odd"),
            tmp_path,
        )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": [5, 3]}, "three whole numbers"),
        ({"split": [5, 3, 0]}, "three whole numbers"),
        ({"split": 5}, "three whole numbers"),
        ({"held_out": 0}, "between 0 and 1"),
        ({"held_out": 1.5}, "between 0 and 1"),
        ({"preference": "six-character"}, "five-character, seven-character, quatrain"),
        ({"preference": "nowhere:odd"}, "No module named 'nowhere'"),
        ({"preference": "json:odd"}, "odd"),
        ({"preference": "json:__doc__"}, "not a function"),
    ],
)
def test_an_impossible_argument_is_refused(changes, said):
    with pytest.raises(UserError, match=said):
        arguments("tang", **changes)


@pytest.mark.parametrize(
    ("name", "prefers"),
    [
        ("five-character", {5: True, 7: False}),
        ("seven-character", {5: False, 7: True}),
        ("quatrain", {5: True, 7: True}),
    ],
)
def test_the_named_preferences(name, prefers):
    for length, wanted in prefers.items():
        line = "字" * length + "，" + "字" * length + "。"
        assert preferences.get(name)(Poem("", (line, line))) is wanted
