"""The training scripts: their curves, and runs that are interrupted, killed or refused a disk."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import (
    CURVES,
    OPTIONS,
    ROOT,
    SMALL,
    beside,
    call,
    command,
    history,
    kill_in_a_save,
    kill_when,
    losses,
    run_in_process,
)


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.mark.slow
def test_training_works_without_a_compiler(run, tmp_path):
    shutil.copytree(run / "data", tmp_path / "data")
    compiled = [
        *command("pretrain", tmp_path / "pretrain"),
        "--torch_compile",
        "true",
        "--max_steps",
        "1",
    ]
    done = call(*compiled, env={**os.environ, "CXX": str(tmp_path / "none")})
    assert done.returncode == 0, done.stderr
    assert "no working compiler" in done.stdout
    sft = [*command("sft", tmp_path / "sft"), "--max_steps", "1"]
    done = call(*sft, env={**os.environ, "CXX": str(tmp_path / "none")})
    assert done.returncode == 0, done.stderr


def test_plain_transformers_loads_the_checkpoints(trained):
    from transformers import AutoModelForCausalLM, pipeline

    run = trained
    for stage in OPTIONS:
        assert len(losses(run / stage)) == 6
        for name in ("README.md", "curves.png", "model.safetensors", "generation_config.json"):
            assert (run / stage / name).stat().st_size > 0
        samples = [
            json.loads(line)
            for line in (run / stage / "samples.jsonl").read_text("utf-8").splitlines()
        ]
        assert {"step", "prompt", "text", "eval_loss"} <= samples[-1].keys()
        assert ("reference" in samples[-1]) == (stage == "dpo")
        AutoModelForCausalLM.from_pretrained(run / stage)
    answer = pipeline("text-generation", model=str(run / "dpo"))(
        [{"role": "user", "content": "春<RES>夜"}]
    )
    assert answer[0]["generated_text"][-1]["role"] == "assistant"


@pytest.mark.parametrize("stage", OPTIONS)
def test_each_script_follows_its_pinned_curve(trained, stage):
    residuals = [
        found - pinned for found, pinned in zip(losses(trained / stage), CURVES[stage], strict=True)
    ]
    assert max(map(abs, residuals)) < 2e-3, losses(trained / stage)
    assert abs(sum(residuals) / len(residuals)) < 5e-4, losses(
        trained / stage
    )  # rounding has no direction


@pytest.mark.slow
def test_a_foreign_tokenizer_works_in_all_stages(run, tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<eos>", "<me>", "<you>"], initial_alphabet=alphabet
    )
    text = (run.parent / "poems.json").read_text(encoding="utf-8")
    backend.train_from_iterator(text.splitlines(), trainer)
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>").save_pretrained(
        tmp_path / "own"
    )
    shutil.copytree(run / "data", tmp_path / "data")
    brief = [
        "--max_steps",
        "2",
        "--n_positions",
        "192",
        "--tokenizer_name_or_path",
        str(tmp_path / "own"),
    ]
    done = call(*command("pretrain", tmp_path / "pretrain"), *brief)
    assert done.returncode == 0, done.stderr
    done = call(*command("sft", tmp_path / "sft"))
    assert (
        done.returncode == 2
        and "has no chat template" in done.stderr
        and not (tmp_path / "sft").exists()
    )
    template = (
        "{%- for message in messages -%}"
        "{{- ('<me>' if message['role'] == 'user' else '<you>') + message['content'] -}}"
        "{%- if message['role'] == 'assistant' -%}{{- eos_token -}}{%- endif -%}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<you>' -}}{%- endif -%}"
    )
    (tmp_path / "pretrain" / "chat_template.jinja").write_text(template, encoding="utf-8")
    for stage in ("sft", "dpo"):
        done = call(*command(stage, tmp_path / stage), "--max_steps", "2")
        assert done.returncode == 0, done.stderr
        assert len(losses(tmp_path / stage)) == 2
    words = [
        sys.executable,
        "-m",
        "poet.cli",
        "write",
        "春",
        "--seed",
        "0",
        "--model",
        str(tmp_path / "dpo"),
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_compiled_scores_follow_the_same_curve(trained, stage, monkeypatch, capsys):
    folder = beside(trained, f"compiled-{stage}", stage)
    monkeypatch.setattr("poet.training.stage.COMPILE_FROM", 0)
    run_in_process(*command(stage, folder))
    assert "scores compiled" in capsys.readouterr().out
    assert losses(folder) == pytest.approx(CURVES[stage], abs=2e-3)


def test_precomputed_reference_scores_equal_those_of_the_model(trained):
    folder = beside(trained, "beforehand", "dpo")
    options = [
        "--bf16",
        "true",
        "--precompute_ref_log_probs",
        "true",
        "--sampled_titles",
        "0",
        "--max_steps",
        "1",
    ]
    done = call(*command("dpo", folder), *options)
    assert done.returncode == 0, done.stderr
    first = history(folder)[0]
    assert first["step"] == 0 and first["eval_rewards/chosen"] == pytest.approx(0, abs=1e-6)
    assert first["eval_rewards/margins"] == pytest.approx(0, abs=1e-6)


def reinforce(trained: Path, folder: Path) -> list[str]:
    small = (
        "--num_generations 4 --per_device_train_batch_size 8 --per_device_eval_batch_size 8 "
        "--max_completion_length 40"
    )
    steps = "--max_steps 3 --eval_steps 3 --save_steps 1"
    start = ["--model_name_or_path", str(trained / "sft"), "--output_dir", str(folder)]
    return [
        "train_grpo.py",
        "--config",
        "configs/tang-regulated/grpo.yaml",
        *small.split(),
        *steps.split(),
        *start,
    ]


@pytest.mark.slow
def test_grpo_logs_each_reward_and_resumes_after_a_kill(trained):
    folder = beside(trained, "reinforced", "grpo")
    done = call(*reinforce(trained, folder))
    assert done.returncode == 0, done.stderr
    assert "Nothing is learned" in done.stdout + done.stderr  # a random model's poems earn nothing
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    logs = [log for log in state["log_history"] if "reward" in log]
    assert len(logs) == 3
    for name in ("well_formed", "rhymed", "tones", "regulated"):
        assert 0 <= logs[0][f"rewards/{name}/mean"] <= 1
    assert (folder / "model.safetensors").is_file()

    killed = beside(trained, "reinforced-and-killed", "grpo")
    kill_when(killed / "checkpoint-1", reinforce(trained, killed))
    assert not (killed / "trainer_state.json").exists()
    again = call(*reinforce(trained, killed))
    assert again.returncode == 0 and "resuming from" in again.stdout, again.stderr
    resumed = history(killed)
    lengths = [log["completions/mean_length"] for log in resumed if "reward" in log]
    assert lengths == [log["completions/mean_length"] for log in logs]  # the same poems were drawn


@pytest.mark.slow
def test_the_entropy_bonus_has_a_gradient(
    trained,
):
    folder = beside(trained, "bonus", "grpo")
    options = ["--entropy_coef", "0.1", "--max_steps", "1"]
    done = call("benchmarks/compiled.py", *reinforce(trained, folder), *options)
    assert done.returncode == 0 and "the loss contains the entropy" in done.stdout, done.stderr
    first = next(log for log in history(folder) if "grad_norm" in log)
    assert (
        first["reward_std"] == 0 and first["grad_norm"] > 0
    )  # rewards that are alike teach nothing


def distill(trained: Path, folder: Path) -> list[str]:
    small = "--samples_per_round 24 --per_device_train_batch_size 4 --gradient_accumulation_steps 2"
    steps = (
        "--rounds 2 --max_steps 4 --warmup_steps 0 --eval_steps 2 --save_steps 1 --logging_steps 1"
    )
    start = ["--model_name_or_path", str(trained / "sft"), "--output_dir", str(folder)]
    return [
        "train_distill.py",
        "--config",
        "configs/tang-regulated/distill.yaml",
        *small.split(),
        *steps.split(),
        *start,
    ]


@pytest.mark.slow
def test_distillation_starts_from_sft_and_resumes_after_a_kill(trained):
    folder = beside(trained, "distilled", "distill")
    done = call(*distill(trained, folder))
    assert done.returncode == 0, done.stderr
    rounds = history(trained / "sft"), history(Path(f"{folder}-round-1")), history(folder)
    evaluations = [[log["eval_loss"] for log in logs if "eval_loss" in log] for logs in rounds]
    for before, after in itertools.pairwise(evaluations):
        assert after[0] == pytest.approx(before[-1], abs=5e-3)  # here in bfloat16 where it is fast
    steps = [log for logs in rounds[1:] for log in logs if "forbidden" in log]
    assert len(steps) == 4 + 2 and steps[-1]["forbidden"] < steps[0]["forbidden"] < 1
    assert all(log["divergence"] > 0 for log in steps)
    assert (folder / "model.safetensors").is_file() and "learned to write without a mask" in (
        folder / "README.md"
    ).read_text("utf-8")

    killed = beside(trained, "distilled-and-killed", "distill")
    kill_when(killed / "checkpoint-1", distill(trained, killed))
    assert (
        not (killed / "trainer_state.json").exists()
        and Path(f"{killed}-round-1/trainer_state.json").is_file()
    )
    again = call(*distill(trained, killed))
    assert again.returncode == 0 and "resuming from" in again.stdout, again.stderr
    assert losses(killed) == losses(folder)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
@pytest.mark.parametrize("stage", ["pretrain", *(slow(stage) for stage in ("sft", "dpo"))])
def test_a_kill_during_a_save_changes_no_loss(trained, stage):
    folder = beside(trained, f"killed-{stage}", stage)
    kill_in_a_save(folder, 4, command(stage, folder))
    done = call(*command(stage, folder))
    assert done.returncode == 0, done.stderr
    assert f"resuming from {folder / 'checkpoint-2'}" in done.stdout
    assert losses(folder) == losses(trained / stage)
    evaluated = [
        [(log["step"], log["eval_loss"]) for log in history(each) if "eval_loss" in log]
        for each in (folder, trained / stage)
    ]
    assert evaluated[0] == evaluated[1]
    assert not (folder / "unfinished").exists()


def test_the_configuration_counts_the_parameters_that_the_model_has(trained):
    from transformers import AutoModelForCausalLM

    from poet.training import size
    from poet.training.options import PretrainOptions

    model = AutoModelForCausalLM.from_pretrained(trained / "pretrain")
    options = PretrainOptions(n_embd=32, n_layer=1, n_head=2, n_positions=96)
    parts = size.parameters(options, model.config.vocab_size)
    assert sum(parts.values()) == model.num_parameters()
    untied = size.parameters(PretrainOptions(tie_word_embeddings=False), 100)
    assert untied["output layer"] == 100 * 256


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as a terminal of POSIX sends them")
@pytest.mark.parametrize("asked", [signal.SIGINT, slow(signal.SIGTERM)])
def test_a_signal_leaves_a_checkpoint_to_resume_from(trained, asked):
    folder = beside(trained, f"stopped-{asked.name}", "pretrain")
    slow = [
        *command("pretrain", folder),
        "--max_steps",
        "60",
        "--save_steps",
        "1000",
        "--eval_steps",
        "1",
        "--lr_scheduler_type",
        "constant",
    ]
    process = subprocess.Popen(
        [sys.executable, *slow], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    samples = folder / "samples.jsonl"  # its third line follows the second step
    while process.poll() is None and (
        not samples.exists() or len(samples.read_text("utf-8").splitlines()) < 3
    ):
        time.sleep(0.01)
    process.send_signal(asked)
    assert process.wait(60) == 130
    (checkpoint,) = folder.glob("checkpoint-*")
    step = int(checkpoint.name.removeprefix("checkpoint-"))
    assert 0 < step < 60 and not (folder / "trainer_state.json").exists()
    done = call(*slow)
    assert done.returncode == 0 and f"resuming from {checkpoint}" in done.stdout
    assert len(losses(folder)) == 60 and history(folder)[-1]["step"] == 60


@pytest.mark.slow
def test_a_finished_training_is_published_after_a_crash(trained):
    folder = beside(trained, "over", "sft")
    options = [*command("sft", folder), "--save_total_limit", "3"]
    assert call(*options).returncode == 0
    evaluated = [log["eval_loss"] for log in history(folder) if "eval_loss" in log]
    (folder / "trainer_state.json").unlink()
    (folder / "model.safetensors").unlink()
    done = call(*options)
    assert done.returncode == 0, done.stderr
    assert [log["eval_loss"] for log in history(folder) if "eval_loss" in log] == pytest.approx(
        evaluated
    )
    assert not (folder / "checkpoint-7").exists() and losses(folder) == losses(trained / "sft")
    weights = [(each / "model.safetensors").read_bytes() for each in (folder, trained / "sft")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_the_best_weights_are_published_with_their_own_loss(trained):
    folder = beside(trained, "best", "sft")
    best = (
        "--load_best_model_at_end true --save_total_limit 1 --metric_for_best_model loss "
        "--greater_is_better true"
    )
    steps = "--eval_steps 2 --save_steps 2 --eval_on_start false"
    done = call(*command("sft", folder), *best.split(), *steps.split())
    assert done.returncode == 0, done.stderr
    evaluated = [(log["step"], log["eval_loss"]) for log in history(folder) if "eval_loss" in log]
    assert (
        max(evaluated[:-1], key=lambda pair: pair[1])[0] == 2
    )  # the worst is asked for, since that comes first
    assert evaluated[-1] == (6, pytest.approx(evaluated[0][1], abs=1e-4))
    assert {path.name for path in folder.glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-6"}
    weights = (folder / "model.safetensors").read_bytes()
    for name in ("trainer_state.json", "model.safetensors"):  # as a full disk may leave it
        (folder / name).unlink()
    assert call(*command("sft", folder), *best.split(), *steps.split()).returncode == 0
    assert (folder / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_samples_change_no_loss(trained):
    quiet = [*command("pretrain", trained / "quiet"), "--eval_strategy", "no", "--dropout", "0.2"]
    shown = [*command("pretrain", trained / "shown"), "--eval_steps", "1", "--dropout", "0.2"]
    for each in (quiet, shown):
        assert call(*each).returncode == 0
    assert losses(trained / "quiet") == losses(trained / "shown") != losses(trained / "pretrain")


@pytest.mark.slow
@pytest.mark.parametrize("stage", OPTIONS)
def test_a_full_disk_gets_one_message_and_leaves_no_parts(trained, stage):
    resource = pytest.importorskip("resource")

    def no_file_over_100_kb():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    folder = beside(trained, f"full-{stage}", stage)
    done = call(*command(stage, folder), preexec_fn=no_file_over_100_kb)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr and "Traceback" not in done.stderr
    assert not (folder / "unfinished").exists() and not (folder / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "origin"), [("sft", "pretrain"), ("dpo", "sft")])
def test_trl_trains_on_the_folders_of_a_run(trained, tmp_path, stage, origin):
    options = {
        "model_name_or_path": trained / origin,
        "dataset_name": trained / "data" / stage,
        "output_dir": tmp_path / "out",
        "max_steps": 3,
        "max_length": 96,
        "per_device_train_batch_size": 2,
        "use_cpu": "true",
        "bf16": "false",
        "report_to": "none",
        "logging_steps": 1,
    }
    arguments = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    trl = Path(sys.executable).with_name("trl")
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_CACHE": str(tmp_path),
    }
    done = subprocess.run(
        [str(trl), stage, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").is_file()


def launch(*options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "processes", "eval_batch"),
    [
        # An evaluation part that two processes cannot share evenly.
        (["accelerate.commands.launch", "--config_file", "configs/accelerate/cpu_2.yaml"], 2, 3),
        # Its only batch goes to the first of four processes.
        (["torch.distributed.run", "--nproc_per_node", "4"], 4, 64),
    ],
)
def test_processes_give_the_losses_of_one_at_the_same_global_batch(
    run, launcher, processes, eval_batch
):
    # Into a second epoch.
    steps = f"--max_steps 14 --eval_steps 7 --per_device_eval_batch_size {eval_batch}".split()
    script = ["train_pretrain.py", "--config", "configs/tang/pretrain.yaml", *SMALL, *steps]
    one, several = run / f"one-{processes}", run / f"several-{processes}"
    assert call(*script, "--output_dir", str(one)).returncode == 0
    assert history(one)[-1]["epoch"] > 1
    share = ["--output_dir", str(several), "--per_device_train_batch_size", str(4 // processes)]
    # Not judged by its exit code: gloo's ranks may abort after a good run (pytorch#190489).
    done = launch(*launcher, *script, *share)
    assert losses(several) == pytest.approx(losses(one), abs=1e-4), done.stderr
    evaluated = [
        [log["eval_loss"] for log in history(folder) if "eval_loss" in log]
        for folder in (one, several)
    ]
    assert len(evaluated[0]) == 3 and evaluated[0] == pytest.approx(evaluated[1], abs=1e-4)


def test_a_silent_launch_of_one_process_is_refused(run):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL, "--output_dir", str(run / "silent")]
    accelerate = ["accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    done = launch(*accelerate, "train_pretrain.py", *config)
    assert "was asked for 2 processes and started one" in done.stderr
    assert not (run / "silent").exists()


@pytest.mark.slow
def test_training_by_the_clock_ends_near_its_minutes(run, tmp_path):
    shutil.copytree(run / "data", tmp_path / "data")
    done = call(*command("pretrain", tmp_path / "pretrain"), "--minutes", "0.1")
    assert done.returncode == 0, done.stderr
    logs = history(tmp_path / "pretrain")
    rates = [log["learning_rate"] for log in logs if "learning_rate" in log]
    assert "for 0.1 minutes" in done.stdout and len(rates) > 6
    assert rates[-1] < max(rates) / 10


@pytest.mark.slow
def test_a_stream_gives_a_model_and_resumes(run, tmp_path):
    shutil.copytree(run / "data", tmp_path / "data")
    stream = [*command("pretrain", tmp_path / "pretrain"), "--streaming", "true"]
    assert call(*stream).returncode == 0
    whole = losses(tmp_path / "pretrain")
    assert len(whole) == 6 and whole[-1] < whole[0]
    for name in ("trainer_state.json", "model.safetensors"):
        (tmp_path / "pretrain" / name).unlink()
    shutil.rmtree(tmp_path / "pretrain" / "checkpoint-6")
    resumed = call(*stream)
    assert "resuming from" in resumed.stdout and losses(tmp_path / "pretrain") == whole


@pytest.mark.slow
def test_a_broken_last_checkpoint_is_passed_over(trained):
    folder = beside(trained, "broken", "sft")
    assert call(*command("sft", folder)).returncode == 0
    for name in ("trainer_state.json", "model.safetensors"):
        (folder / name).unlink()
    (folder / "checkpoint-6" / "optimizer.pt").write_bytes(b"")  # as after a power cut
    done = call(*command("sft", folder))
    assert f"resuming from {folder / 'checkpoint-4'}" in done.stdout, done.stderr
    assert losses(folder) == losses(trained / "sft")


@pytest.mark.parametrize("stage", OPTIONS)
def test_a_plain_run_follows_the_same_curve(trained, stage):
    folder = beside(trained, f"plain-{stage}", stage)
    done = call(*command(stage, folder), "--plain", "true")
    assert done.returncode == 0, done.stderr
    assert "plain, no speed-ups" in done.stdout
    assert losses(folder) == pytest.approx(CURVES[stage], abs=2e-3)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "plain, no speed-ups" in card
