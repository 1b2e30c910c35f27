"""Files from strangers: nothing in them is executed, injected into a page, or sent to a terminal.

A canary is a file that hostile code would write.
"""

import json
import pickle
import re
import shutil
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import make_checkpoint, random_model
from transformers import AutoTokenizer, Trainer, TrainingArguments

from poet.data.blocks import Blocks
from poet.data.build import build_datasets, format_summary
from poet.data.options import DataOptions
from poet.data.readers import read_hub
from poet.data.show import show_data
from poet.errors import UserError
from poet.evaluation.report import write_report
from poet.generation.load import checkpoint_kind, load
from poet.training.callbacks import ShowSample
from poet.training.card import add_evaluation, write_card
from poet.training.options import PretrainOptions
from poet.training.stage import Stage
from poet.training.trainer import PoetTrainerMixin
from poet_tokenizer import build_tokenizer, save_tokenizer

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\x00\x7f"
TAGS = "<RES><end><script>alert(1)</script>](javascript:x)|`---\n# heading\nlicense: other"


class Hostile:
    """A pickle of it writes the canary."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return (Path.write_text, (self.canary, "executed"))


@pytest.fixture
def canary(tmp_path) -> Path:
    path = tmp_path / "canary"
    (tmp_path / "proof").write_bytes(pickle.dumps(Hostile(path)))
    pickle.loads((tmp_path / "proof").read_bytes())
    assert path.read_text(encoding="utf-8") == "executed"  # the canary does sing
    path.unlink()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def checkpoint(whole, tmp_path) -> Path:
    return shutil.copytree(whole, tmp_path / "checkpoint")


def change(path: Path, **values) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | values), encoding="utf-8")


PICKLES = ["pytorch_model.bin", "optimizer.pt", "scheduler.pt", "training_args.bin"]
PICKLES += ["rng_state.pth", "adapter_model.bin"]


def test_no_pickle_of_a_checkpoint_is_read(checkpoint, canary):
    for name in PICKLES:
        torch.save(Hostile(canary), checkpoint / name)
    load(checkpoint)
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(UserError, match="not a whole checkpoint"):
        load(checkpoint)
    assert not canary.exists()


def test_no_pickle_of_an_adapter_is_read(checkpoint, canary, tmp_path):
    adapter = tmp_path / "adapter"
    shutil.copytree(checkpoint, adapter)
    (adapter / "model.safetensors").unlink()
    config = {"base_model_name_or_path": str(checkpoint), "peft_type": "LORA"}
    (adapter / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in PICKLES:
        torch.save(Hostile(canary), adapter / name)
    with pytest.raises(UserError, match="not a whole adapter"):
        load(adapter)
    assert not canary.exists()


class Resumer(PoetTrainerMixin, Trainer):
    pass


def test_resuming_executes_no_pickle(canary, tmp_path):
    tokenizer = build_tokenizer("春", 16)
    args = TrainingArguments(
        str(tmp_path / "run"),
        max_steps=2,
        save_steps=1,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    stage = SimpleNamespace(name="pretrain", options=PretrainOptions(), speedups=None)
    rows = Blocks(list(range(5, 261)) * 2, 16, 0)
    trainer = Resumer(random_model(tokenizer, 16), args, stage=stage, train_dataset=rows)
    trainer.train()
    first = tmp_path / "run" / "checkpoint-1"
    torch.save(Hostile(canary), first / "training_args.bin")
    trainer.train(resume_from_checkpoint=str(first))
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        whole = (first / name).read_bytes()
        torch.save(Hostile(canary), first / name)
        with pytest.raises(Exception, match="(?i)weights.only"):
            trainer.train(resume_from_checkpoint=str(first))
        (first / name).write_bytes(whole)
    assert not canary.exists()


def test_no_code_that_a_checkpoint_names_is_executed(checkpoint, canary, monkeypatch):
    code = f"from pathlib import Path\nPath({str(canary)!r}).write_text('executed')\n"
    code += "class Own:\n    pass\ndef generate(*args, **kwargs):\n    pass\n"
    for name in ("own.py", "tokenization_own.py", "custom_generate/generate.py"):
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_text(code, encoding="utf-8")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # nobody may be asked
    auto_map = {
        "AutoTokenizer": ["own.Own", "own.Own"],
        "AutoConfig": "own.Own",
        "AutoModelForCausalLM": "own.Own",
    }
    change(checkpoint / "config.json", auto_map=auto_map, custom_generate="custom_generate")
    change(checkpoint / "generation_config.json", custom_generate="custom_generate")
    change(checkpoint / "tokenizer_config.json", auto_map=auto_map, tokenizer_class="Own")
    for read in (load, checkpoint_kind, lambda path: Stage.load_tokenizer(None, str(path), 16)):
        try:
            read(checkpoint)
        except UserError as error:
            assert "code" in str(error)
    change(checkpoint / "config.json", model_type="own")
    with pytest.raises(UserError, match="needs its own code"):
        load(checkpoint)
    assert not canary.exists()


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
def test_no_kernel_that_a_checkpoint_names_is_loaded(checkpoint, key):
    change(checkpoint / "config.json", **{key: "owner/kernel"})
    model, _ = load(checkpoint)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("config.json", {"n_embd": [1]}),
        ("config.json", {"activation_function": "os.system"}),
        ("config.json", {"dtype": "load"}),
        ("config.json", {"n_positions": 10**11}),
        ("config.json", {"quantization_config": {"quant_method": "gptq", "bits": 4}}),
        ("tokenizer_config.json", {"chat_template": [1, 2]}),
        ("tokenizer_config.json", {"model_max_length": "x"}),
        ("tokenizer_config.json", {"eos_token": {"content": "x"}}),
    ],
)
def test_odd_values_of_a_checkpoint_get_one_message(checkpoint, name, changes, poet):
    change(checkpoint / name, **changes)
    code, out, err = poet("write", "春", "--model", checkpoint)
    assert (code, out) == (2, "") and err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% include '/etc/hostname' %}",
        "{{ messages.append(1) }}",
        "{% for",
        "{{ nothing.here.at.all }}",
    ],
)
def test_a_chat_template_reaches_nothing_of_the_machine(checkpoint, template, poet):
    change(checkpoint / "tokenizer_config.json", chat_template=template)
    code, out, err = poet("write", "春", "--model", checkpoint)
    assert (code, out) == (2, "") and "chat template" in err and err.count("\n") == 1


def test_a_corpus_with_a_script_is_data_only(tmp_path, canary, invented, monkeypatch):
    folder = tmp_path / "own" / "poems"
    folder.mkdir(parents=True)
    code = f"from pathlib import Path\nPath({str(canary)!r}).write_text('executed')\n"
    for name in ("poems.py", "__init__.py", "conftest.py", "setup.py"):
        (folder / name).write_text(code, encoding="utf-8")
    (folder / "corpus.pkl").write_bytes(pickle.dumps(Hostile(canary)))
    (folder / "corpus.json").write_text(json.dumps(invented(120)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert build_datasets(DataOptions(corpus="own/poems"), tmp_path / "run")["read"] == 120
    assert not canary.exists()


def test_a_data_set_with_a_script_is_refused(tmp_path, canary, monkeypatch):
    folder = tmp_path / "own" / "poems"
    folder.mkdir(parents=True)
    code = f"from pathlib import Path\nPath({str(canary)!r}).write_text('executed')\n"
    (folder / "poems.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="own/poems"):
        list(read_hub("own/poems"))
    assert not canary.exists()


def is_quiet(text: str) -> bool:
    """Returns whether a text has no control character but tabs and line breaks."""
    return all(unicodedata.category(c) != "Cc" or c in "\n\t" for c in text)


@pytest.fixture
def hostile_run(tmp_path, invented):
    """A run of poems whose titles, authors and lines hold tags and terminal escapes."""
    poems = invented(160)
    for number, poem in enumerate(poems):
        poem["title"] += (TAGS, ESCAPES, "x" * 100_000, "‮⁦")[number % 4]
        poem["author"] = TAGS + ESCAPES
        if number % 3 == 0:
            poem["paragraphs"] = [row[:2] + ESCAPES + row[2:] for row in poem["paragraphs"]]
    corpus = tmp_path / "corpus.json"
    corpus.write_text(json.dumps(poems), encoding="utf-8")
    options = DataOptions(corpus=str(corpus))
    build_datasets(options, tmp_path / "run")
    return tmp_path / "run", options


def test_titles_with_escapes_and_100_000_characters_are_shown_in_short_rows(hostile_run):
    run, options = hostile_run
    shown = format_summary(build_datasets(options, run)) + "\n" + show_data(run, 64)
    assert is_quiet(shown.replace(str(run.parent), ""))
    assert max(map(len, shown.splitlines())) < 1_000


def test_a_report_holds_no_tag_and_no_heading_of_a_title(hostile_run):
    run, _ = hostile_run
    make_checkpoint(run / "pretrain")
    history = [{"eval_loss": 4.0, "step": 1}, {"loss": 4.0, "step": 1, "seconds": 1.0}]
    state = {"log_history": history}
    (run / "pretrain" / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    sample = {"step": 1, "prompt": TAGS + ESCAPES, "text": TAGS + ESCAPES, "eval_loss": 4.0}
    (run / "pretrain" / "samples.jsonl").write_text(json.dumps(sample) + "\n", encoding="utf-8")
    report = write_report(run, {}).read_text(encoding="utf-8")
    assert is_quiet(report)
    text, data = report.split("## Data")
    assert data.count("\n```") == 2
    text = re.sub(r"\\.|<br>", "", text)
    assert "<" not in text and "](javascript" not in text and "\n# heading" not in text


def test_a_card_holds_no_tag_and_no_key_of_a_fact(tmp_path):
    import yaml

    name = f"{TAGS}{ESCAPES}---\n"
    write_card(
        tmp_path, [], {"stage": "author", "author": name, "corpus": name, "base_model": name}
    )
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    assert is_quiet(text)
    assert "license" not in yaml.safe_load(header)
    body = re.sub(r"\\.", "", body)  # an escaped mark is no mark
    assert "<" not in body and "\n# heading" not in body and "](javascript" not in body
    add_evaluation(tmp_path, "| a | b |")
    assert (tmp_path / "README.md").read_text(encoding="utf-8").count("## Limits") == 1


def test_a_model_that_writes_escapes_prints_none(tmp_path, poet):
    checkpoint = make_checkpoint(tmp_path, ends=1e-6, characters=f"{ESCAPES}春")
    code, out, err = poet("write", "春", "--model", checkpoint, "--seed", 1)
    assert code == 0 and "�" in out and is_quiet(out) and is_quiet(err)
    code, out, err = poet("write", "春", "--model", checkpoint, "--seed", 1, "-n", 2)
    assert code == 0 and is_quiet(out) and is_quiet(err)


def test_a_sample_prints_no_escape(tmp_path, capsys):
    model, tokenizer = load(make_checkpoint(tmp_path / "model", 1e-6, f"{ESCAPES}春"))
    stage = SimpleNamespace(
        name="sft",
        samples=tmp_path / "samples.jsonl",
        sample_title=ESCAPES,
        options=PretrainOptions(plain=True),
    )
    args = SimpleNamespace(device=torch.device("cpu"), seed=0)
    state = SimpleNamespace(is_world_process_zero=True, global_step=1, max_steps=2, log_history=[])
    ShowSample(stage, tokenizer, text=model).on_evaluate(args, state, None, {"eval_loss": 1.0})
    out = capsys.readouterr().out
    assert "�" in out and is_quiet(out)


def test_a_message_prints_no_escape(tmp_path, poet):
    for words in (["write", ESCAPES * 3, "--model", tmp_path / "a\x1b[2J"], [ESCAPES]):
        code, out, err = poet(*[str(word).replace("\0", "") for word in words])
        assert code == 2 and is_quiet(out + err)


def test_a_title_of_100_000_characters_gets_one_short_message(checkpoint, poet):
    code, out, err = poet("write", "春" * 100_000, "--model", checkpoint)
    assert (code, out) == (2, "") and err.count("\n") == 1 and len(err) < 400


def test_a_tokenizer_with_hostile_names_is_data_only(tmp_path):
    tokenizer = build_tokenizer(f"{ESCAPES}春", 16, TAGS)
    save_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    ids = loaded.apply_chat_template([{"role": "user", "content": TAGS}])["input_ids"]
    assert sum(id < 5 for id in ids) == 3
