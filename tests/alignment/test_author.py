"""An adapter for one author. The two authors of the corpus have no character in common."""

import json
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from helpers import call, kill_in_a_save, losses, make_checkpoint, random_model
from transformers import AutoConfig, AutoModelForCausalLM, set_seed
from trl import SFTConfig

from poet.alignment import author
from poet.data import build, run_data
from poet.data.options import DataOptions
from poet.errors import UserError
from poet.evaluation.checkpoints import evaluate_checkpoints
from poet.evaluation.held_out import load_from_run
from poet.evaluation.table import table
from poet.generation.adapter import base_of
from poet.generation.load import generation_defaults, load
from poet.generation.write import write
from poet.training.command_line import parse
from poet.training.options import SFTOptions
from poet.training.stage import Stage
from poet_tokenizer import build_tokenizer

POSITIONS = 64
WORDS = {
    "劉長卿": [chr(0x5000 + i) for i in range(30)],
    "李白": [chr(0x6000 + i) for i in range(30)],
}
SMALL = (
    "--max_steps 12 --per_device_train_batch_size 16 --learning_rate 2e-2 --logging_steps 1 "
    "--bf16 false --save_strategy steps --save_steps 4 --eval_strategy steps --eval_steps 12"
).split()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Data of 240 poems, three of them by a third author, and in sft/ a small model of them."""
    folder = tmp_path_factory.mktemp("author")
    rng = random.Random(0)
    poems = []
    for k in range(240):
        name = list(WORDS)[k % 2]
        width = rng.choice([5, 7])
        lines = [
            "，".join("".join(rng.choices(WORDS[name], k=width)) for _ in "ab") + "。" for _ in "ab"
        ]
        title = "".join(rng.choices("春夜喜雨山中", k=4))
        poems.append({"title": title, "author": "李白之" if k < 3 else name, "paragraphs": lines})
    (folder / "poems.json").write_text(json.dumps(poems, ensure_ascii=False), encoding="utf-8")
    cut = {
        "split": [5, 3, 2],
        "held_out": 0.2,
        "min_couplets": 2,
        "equal_couplets": True,
        "forbidden": "",
    }
    arguments = DataOptions(corpus=str(folder / "poems.json"), preference="five-character", **cut)
    build.build_datasets(arguments, folder / "run")
    make_base(folder / "run")
    return folder / "run"


def make_base(run: Path) -> None:
    """Trains a small model on the rows of fine-tuning, and saves it in sft/."""
    set_seed(0)
    tokenizer = build_tokenizer(run_data.characters(run), POSITIONS)
    model = random_model(tokenizer, POSITIONS)
    rows = run_data.load_stage(run, "sft")["train"]
    encoded = tokenizer.apply_chat_template(
        [r["prompt"] + r["completion"] for r in rows], padding=True
    )["input_ids"]
    ids = torch.tensor(encoded)
    labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(60):
        model(ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config = generation_defaults(tokenizer, POSITIONS)
    model.save_pretrained(run / "sft")
    tokenizer.save_pretrained(run / "sft")


def command(folder: Path, name: str = "李白", *options: str) -> list[str]:
    config = ["--config", "configs/tang/author.yaml", "--author", name, "--output_dir", str(folder)]
    return ["train_sft.py", *config, *SMALL, *options]


@pytest.fixture(scope="module")
def adapter(run) -> Path:
    done = call(*command(run / "author"))
    assert done.returncode == 0, done.stderr
    return run / "author"


def test_an_adapter_folder_is_complete_and_has_no_path_of_this_machine(run, adapter):
    assert len(losses(adapter)) == 12
    for name in (
        "adapter_model.safetensors",
        "tokenizer.json",
        "README.md",
        "curves.png",
        "samples.jsonl",
    ):
        assert (adapter / name).stat().st_size > 0
    for path in (
        path for path in adapter.iterdir() if path.is_file() and not path.name.startswith("_")
    ):
        assert path.suffix not in (".bin", ".pt", ".pth") and path.name != "model.safetensors"
        assert str(run).encode() not in path.read_bytes(), path
    assert json.loads((adapter / "generation_config.json").read_text("utf-8"))["temperature"] == 0.8
    card = (adapter / "README.md").read_text("utf-8")
    assert "library_name: peft" in card and "| author | 李白 |" in card
    assert base_of(adapter) == base_of(adapter / "checkpoint-12") == run / "sft"


def test_poems_with_the_adapter_are_those_of_plain_peft(run, adapter, poet):
    from peft import PeftModel

    words = ("write", "春夜", "--seed", 3)
    code, with_it, err = poet(*words, "--model", adapter)
    assert (code, err) == (0, "")
    assert poet(*words, "--model", run / "sft", "--temperature", 0.8)[1] != with_it
    plain = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(run / "sft"), adapter
    ).merge_and_unload()
    model, tokenizer = load(adapter)
    assert all(
        torch.equal(weight, plain.state_dict()[name]) for name, weight in model.state_dict().items()
    )
    plain.generation_config.temperature = 0.8
    first = write(plain, tokenizer, "春夜", seed=3)[0]
    assert with_it == "\n".join(filter(None, first.split("\n"))) + "\n"


def test_evaluation_attributes_poems_with_the_adapter_to_its_author(run, adapter):
    result = evaluate_checkpoints([run / "sft", adapter], load_from_run(run), titles=20)
    before, row = result.checkpoints.values()
    assert row.voice_auc.value > row.voice_auc.interval[0] > 0.8
    assert row.author_loss.value < row.author_loss_before.value
    assert row.others_loss.value > row.others_loss_before.value
    history = json.loads((adapter / "trainer_state.json").read_text("utf-8"))["log_history"]
    last_loss = [log["eval_loss"] for log in history if "eval_loss" in log][-1]
    assert row.author_loss.value == pytest.approx(last_loss, abs=1e-4)
    assert row.own_poems_taken_for_author.value == 1
    assert row.others_poems_taken_for_author.value == 0
    assert row.taken_for_author.value > row.taken_for_author_before.value
    assert before.voice_auc is None
    assert "| author recognized (AUC) | higher |  | " in table(result.columns())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_training_of_an_adapter_resumes_after_a_kill_in_the_middle_of_a_save(run, adapter):
    folder = run / "killed" / "author"
    folder.parent.mkdir()
    for part in ("data", "sft"):
        (folder.parent / part).symlink_to(run / part)
    kill_in_a_save(folder, 8, command(folder))
    done = call(*command(folder))
    assert done.returncode == 0, done.stderr
    assert f"resuming from {folder / 'checkpoint-4'}" in done.stdout
    assert losses(folder) == losses(adapter)
    assert not (folder / "unfinished").exists()


def test_an_unknown_author_is_refused_with_the_nearest_names(run):
    done = call(*command(run / "mistake", "李百"))
    assert done.returncode == 2, done.stderr
    assert (
        done.stderr.strip().endswith("Similar names: 李白, 李白之, 劉長卿.")
        and "Traceback" not in done.stderr
    )
    assert not (run / "mistake").exists()


def test_no_model_of_the_run_was_trained_on_held_out_poems(run):
    split = author.find_author(run, "刘长卿")  # in simplified characters
    poems = split.training + split.held_out
    assert {poem.author for poem in poems} == {split.author} == {"劉長卿"}
    assert len(poems) == 118 and len(split.held_out) > 10
    others = split.others_training + split.others_held_out
    assert len(others) == 122 and "劉長卿" not in {poem.author for poem in others}
    trained = {row["completion"][0]["content"] for row in run_data.load_stage(run, "sft")["train"]}
    text = "\n\n".join(row["text"] for row in run_data.load_stage(run, "pretrain")["train"])
    for poem in split.held_out + split.others_held_out:
        assert poem.text not in trained and poem.text[:5] not in text


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("李白之", {}, "李白之 has 3 poems in .* an author with at least 20"),
        ("李白", {"corpus": "nowhere"}, "cannot read the authors .*no corpus at nowhere"),
        ("李白", {"seed": 3}, "cannot read the authors .*split with the seed 3.* always 2024"),
        ("李白", {"fingerprint": "0"}, "it has changed since .* was made"),
    ],
)
def test_an_author_without_enough_poems_or_without_the_corpus_is_refused(
    run, tmp_path, name, changed, message
):
    summary = run_data.load_summary(run)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "summary.json").write_text(
        json.dumps({"made_from": summary["made_from"] | changed}), "utf-8"
    )
    with pytest.raises(UserError, match=message):
        author.find_author(tmp_path, name)


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        ("author", [], "give an author, as in"),
        ("sft", ["--author", "李白"], "or use configs/tang/author.yaml"),
        ("author", ["--author", "李白", "--muon_learning_rate", "0.01"], "does not work with"),
    ],
)
def test_options_of_an_adapter_that_clash_are_refused(recipe, options, message):
    argv = ["--config", f"configs/tang/{recipe}.yaml", *options]
    with pytest.raises(UserError, match=message):
        parse(SFTOptions, SFTConfig, argv=argv)


def test_an_adapter_that_does_not_fit_is_refused(run, adapter, tmp_path):
    characters = "".join(run_data.characters(run))
    narrow = make_checkpoint(tmp_path / "narrow", characters=characters)
    tall = make_checkpoint(tmp_path / "tall", characters=characters)
    other = make_checkpoint(tmp_path / "other", characters="春夜")
    resize(narrow, n_embd=8)
    resize(tall, n_layer=2)
    broken = shutil.copytree(adapter, tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"no")
    alone = shutil.copytree(adapter, tmp_path / "elsewhere" / "alone")
    for folder, base, message in [
        (run / "sft", narrow, "is not an adapter"),
        (adapter, narrow, "of another shape"),
        (adapter, tall, "of another shape"),
        (adapter, other, "another tokenizer"),
        (adapter, tmp_path / "nowhere", "there is no checkpoint folder"),
        (broken, run / "sft", "is not a whole adapter"),
        (alone, None, "which is not here"),
    ]:
        with pytest.raises(UserError, match=message) as raised:
            load(folder, base)
        assert "\n" not in str(raised.value)
    options = SFTOptions(model_name_or_path=str(adapter))
    args = SFTConfig(output_dir=str(run / "more"), use_cpu=True, bf16=False)
    with pytest.raises(UserError, match="Training starts from a whole model"):
        Stage("sft", options, args).load_model("pretrain")


def resize(folder: Path, **size) -> None:
    """Puts a random model of another size into a checkpoint folder."""
    config = AutoConfig.from_pretrained(folder)
    config.update(size)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
