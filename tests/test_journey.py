"""The commands that a person types, on a small corpus made here."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
SMALL = "--n_embd 32 --n_layer 1 --n_head 2 --n_positions 96 --torch_compile false --max_steps 6 --eval_steps 3 --save_steps 2 --logging_steps 1 --per_device_train_batch_size 4".split()
TUNE = "--max_steps 6 --eval_steps 3 --save_steps 2 --logging_steps 1 --per_device_train_batch_size 4".split()


def call(script: str, *options: str, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, str(HOUSE / script), *options]
    return subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=300, **kwargs)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    draw = random.Random(0)
    characters = [chr(0x5000 + i) for i in range(200)]
    poems = []
    for _ in range(300):
        width = draw.choice([5, 7])
        lines = ["，".join("".join(draw.choices(characters, k=width)) for _ in "ab") + "。" for _ in range(2)]
        poems.append({"title": "".join(draw.choices(characters, k=4)), "author": "", "paragraphs": lines})
    (folder / "poems.json").write_text(json.dumps(poems, ensure_ascii=False), encoding="utf-8")
    options = ["--recipe", "tang", "--corpus", str(folder / "poems.json"), "--stages", "data"]
    done = call("run.py", *options, "--output_dir", str(folder / "run"))
    assert done.returncode == 0, done.stderr
    return folder / "run"


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    return [row["loss"] for row in history if "loss" in row]


def test_three_stages_and_a_checkpoint_that_plain_transformers_loads(run):
    from transformers import AutoModelForCausalLM, pipeline

    for stage, options in {"pretrain": SMALL, "sft": TUNE, "dpo": TUNE}.items():
        config = ["--config", f"configs/tang/{stage}.yaml", "--output_dir", str(run / stage)]
        done = call(f"train_{stage}.py", *config, *options)
        assert done.returncode == 0, done.stderr
        assert len(losses(run / stage)) == 6
        for name in ("README.md", "curves.png", "model.safetensors", "generation_config.json"):
            assert (run / stage / name).stat().st_size > 0
        samples = [json.loads(line) for line in (run / stage / "samples.jsonl").read_text("utf-8").splitlines()]
        assert {"step", "prompt", "text", "eval_loss"} <= samples[-1].keys()
        assert ("reference" in samples[-1]) == (stage == "dpo")
        AutoModelForCausalLM.from_pretrained(run / stage)
    answer = pipeline("text-generation", model=str(run / "dpo"))([{"role": "user", "content": "春<RES>夜"}])
    assert answer[0]["generated_text"][-1]["role"] == "assistant"


def test_a_stage_that_was_cut_off_ends_as_if_it_had_not_been(run):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL]
    for name in ("whole", "cut"):
        assert call("train_pretrain.py", *config, "--output_dir", str(run / name)).returncode == 0
    # As after a SIGKILL behind step 4: no end, a later checkpoint half-written.
    (run / "cut" / "trainer_state.json").unlink()
    (run / "cut" / "checkpoint-6").rename(run / "cut" / "unfinished")
    (run / "cut" / "unfinished" / "optimizer.pt").unlink()
    done = call("train_pretrain.py", *config, "--output_dir", str(run / "cut"))
    assert "going on from" in done.stdout
    assert losses(run / "cut") == losses(run / "whole")


@pytest.mark.parametrize(
    ("script", "options", "sentence"),
    [
        ("train_pretrain.py", ["--config", "configs/tang/pretrain.yaml", "--learning_rat", "1"], "--learning_rate"),
        ("train_sft.py", ["--config", "configs/nowhere/sft.yaml"], "there is no recipe file"),
        ("train_pretrain.py", ["--config", "configs/tang/pretrain.yaml", "--learning_rate", "fast"], "learning_rate"),
        ("run.py", ["--recipe", "song"], "there is no recipe song"),
        ("run.py", ["--recipe", "tang", "--corpus", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(script, options, sentence, tmp_path):
    done = call(script, *options, "--output_dir", str(tmp_path / "x"))
    assert done.returncode == 2
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--temperature", "0"], "temperature must be a number above 0"),
        (["--tokenizer_name_or_path", "nowhere/at-all"], "no tokenizer could be loaded from nowhere/at-all"),
        (["--n_positions", "4096"], "add poems or lower n_positions"),
    ],
)
def test_a_mistake_behind_the_command_line_leaves_no_folder(run, options, sentence):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, "--output_dir", str(run / "mistake")]
    done = call("train_pretrain.py", *config, *options)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert not (run / "mistake").exists()


def launch(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "accelerate.commands.launch", *options]
    return subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, timeout=300)


def test_two_processes_give_the_losses_of_one_at_the_same_global_batch(run):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL]
    assert call("train_pretrain.py", *config, "--output_dir", str(run / "one")).returncode == 0
    share = ["--output_dir", str(run / "two"), "--per_device_train_batch_size", "2"]
    # Not judged by its exit code: gloo's ranks may abort after a good run (pytorch#190489).
    done = launch("--config_file", "configs/accelerate/cpu_2.yaml", "train_pretrain.py", *config, *share)
    assert losses(run / "two") == pytest.approx(losses(run / "one"), abs=1e-4), done.stderr


def test_a_launch_that_starts_one_process_of_two_is_refused(run):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, "--output_dir", str(run / "silent")]
    done = launch("--cpu", "--num_processes", "2", "train_pretrain.py", *config)
    assert "was asked for 2 processes and started one" in done.stderr
    assert not (run / "silent").exists()
