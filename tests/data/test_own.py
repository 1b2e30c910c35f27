"""`run.py --recipe own`: sets, and a recipe, from texts of any shape."""

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from poet.data import own, sets
from poet.data.build import build_datasets, format_summary
from poet.data.options import DataOptions
from poet.data.rows import content
from poet.data.run_data import STAGES, load_stage, sample_title
from poet.errors import UserError
from poet.training.command_line import parse
from poet.training.options import DPOOptions, PretrainOptions, SFTOptions

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "configs" / "own"
_spec = importlib.util.spec_from_file_location("make_texts", ROOT / "docs" / "make_texts.py")
make_texts = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_texts)
PROSE = (
    "It was a long road.\nNobody came.\n\nThen the rain fell, and the harbor lights went out.\n\n"
)


def write(folder: Path, name: str, rows) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def texts(tmp_path):
    """Writes rows of a kind, and returns the path of the file."""
    return lambda kind, count=60: write(tmp_path, kind, make_texts.records(kind, count))


def make(folder: Path, *words: str) -> dict:
    (options,) = parse(DataOptions, argv=["--config", str(OWN / "data.yaml"), *words])
    return build_datasets(options, folder / "run")


def test_english_poems_pretrain_and_fine_tune(tmp_path, texts):
    summary = make(tmp_path, "--corpus", texts("couplets"))
    assert summary["language"] == {"code": "en", "name": "English", "script": "Latin"}
    assert summary["shapes"] == {"pretrain": "poems", "sft": "poems"}
    assert summary["instruction"] == "Write a poem with this title: "
    assert summary["kept"] == 60 and summary["parts"] == {"pretrain": 37, "sft": 23, "dpo": 0}
    assert summary["left_out"] == {
        "dpo": "Alignment is left out: no preference is chosen. "
        "Choose one with --preference, or name pairs as --dpo PATH."
    }
    assert summary["left_out"]["dpo"] in format_summary(summary)


def test_conversations_serve_both_stages_with_the_same_rows_held_out(tmp_path, texts):
    summary = make(tmp_path, "--corpus", texts("questions"))
    assert summary["shapes"] == {"pretrain": "answers", "sft": "answers"}
    assert summary["instruction"] == "" and list(summary["left_out"]) == ["dpo"]
    held_out = load_stage(tmp_path / "run", "sft")["test"]
    pretraining = load_stage(tmp_path / "run", "pretrain")["test"]
    assert [row["text"] for row in pretraining] == [
        f"{content(row['prompt'])}\n{content(row['completion'])}" for row in held_out
    ]


def test_no_copy_of_a_held_out_row_is_trained_on(tmp_path, texts):
    make(tmp_path, "--corpus", texts("questions", 900))  # of at most 216 different questions
    halves = load_stage(tmp_path / "run", "sft")
    train, test = ({str(row) for row in halves[half]} for half in ("train", "test"))
    assert test and not train & test
    assert sum(map(len, halves.values())) == 900


def test_pairs_serve_all_stages(tmp_path, texts):
    summary = make(tmp_path, "--corpus", texts("pairs"))
    assert summary["left_out"] == {} and set(summary["shapes"].values()) == {"pairs"}
    rows = {stage: load_stage(tmp_path / "run", stage)["train"] for stage in STAGES}
    assert rows["sft"][0]["completion"] == rows["dpo"][0]["chosen"]
    assert len(rows["sft"]) == len(rows["dpo"]) == 54


def test_documents_pretrain_only(tmp_path):
    path = tmp_path / "prose.txt"
    path.write_text(PROSE * 20, encoding="utf-8")
    summary = make(tmp_path, "--corpus", str(path))
    assert summary["shapes"] == {"pretrain": "documents"}
    assert "no titles" in summary["left_out"]["sft"]
    assert sample_title(tmp_path / "run") in PROSE
    assert load_stage(tmp_path / "run", "pretrain")["train"][0]["text"] in PROSE


def test_each_stage_may_have_a_source_of_its_own(tmp_path, texts):
    summary = make(
        tmp_path,
        *("--corpus", texts("couplets")),
        *("--sft", texts("questions", 40)),
        *("--dpo", texts("pairs", 50)),
    )
    assert summary["shapes"] == {"pretrain": "poems", "sft": "answers", "dpo": "pairs"}
    assert summary["parts"] == {"pretrain": 60, "sft": 40, "dpo": 50}


def test_a_stage_uses_the_rows_of_a_later_one_without_a_corpus(tmp_path, texts):
    options = DataOptions(sft=texts("questions"), dpo=texts("pairs"))
    assert sets.make_sets(options).shape_of("pretrain") == "answers"
    options = DataOptions(dpo=texts("pairs"))
    assert {sets.make_sets(options).shape_of(stage) for stage in STAGES} == {"pairs"}
    with pytest.raises(UserError, match="there is no corpus.*--corpus PATH"):
        DataOptions()


def test_rows_of_two_shapes_in_one_file_are_refused(tmp_path):
    rows = [*make_texts.records("questions", 3), *make_texts.records("pairs", 1)]
    with pytest.raises(UserError, match=r"mixed\.jsonl, line 4 has other columns"):
        make(tmp_path, "--corpus", write(tmp_path, "mixed", rows))


@pytest.mark.parametrize("kind", ["couplets", "questions", "pairs"])
def test_the_chosen_recipe_is_an_ordinary_recipe(tmp_path, texts, kind):
    make(tmp_path, "--corpus", texts(kind))
    (options,) = parse(DataOptions, argv=["--config", str(OWN / "data.yaml")])
    shown = own.write_recipe(OWN, tmp_path / "run", options)
    kinds = {"pretrain": PretrainOptions, "sft": SFTOptions, "dpo": DPOOptions}
    folder = tmp_path / "run" / "recipe"
    names = {path.stem for path in folder.iterdir()} - {"data"}
    assert names == {"pretrain", "sft"} | ({"dpo"} if kind == "pairs" else set())
    for name in names:
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        numbers = yaml.safe_load(text)
        template = yaml.safe_load((OWN / f"{name}.yaml").read_text(encoding="utf-8"))
        assert numbers.keys() == template.keys() and "#" in text
        known = {key: numbers[key] for key in kinds[name].__dataclass_fields__ if key in numbers}
        assert kinds[name](**known)
        assert numbers["output_dir"] == str(tmp_path / "run" / name)
    pretraining = yaml.safe_load((folder / "pretrain.yaml").read_text(encoding="utf-8"))
    lengths = own.measure_rows(tmp_path / "run", 0.99)
    assert lengths.most < pretraining["n_positions"] <= lengths.most + 33
    assert f"n_positions                  {pretraining['n_positions']}" in shown


def test_a_saved_recipe_has_its_own_run_and_replaces_none(tmp_path, texts):
    make(tmp_path, "--corpus", texts("couplets"))
    (options,) = parse(DataOptions, argv=["--corpus", texts("couplets"), "--min_couplets", "1"])
    own.write_recipe(OWN, tmp_path / "run", options)
    folder = own.save_recipe(tmp_path / "run", tmp_path, "mine")
    assert "output_dir: runs/mine/sft\n" in (folder / "sft.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert data == {"corpus": texts("couplets"), "min_couplets": 1}
    assert own.save_recipe(tmp_path / "run", tmp_path, "mine") == folder  # the same command again
    (folder / "sft.yaml").write_text("max_steps: 1\n", encoding="utf-8")
    with pytest.raises(UserError, match="exists already"):
        own.save_recipe(tmp_path / "run", tmp_path, "mine")
    for name in ("mine", "../x", ".hidden"):
        with pytest.raises(UserError, match=r"exists already|cannot be the name"):
            own.check_name(tmp_path / "new", tmp_path, name)
    own.check_name(tmp_path / "run", tmp_path, "mine")  # it may be this run's own copy
