"""A wrong option gets one message and leaves no folder."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import ROOT, SMALL, run_in_process
from transformers import TrainerState, get_scheduler

from poet.alignment import masked_poems, own_pairs
from poet.errors import UserError
from poet.training.refusals import refusing


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def no_slow_work(*args, **kwargs) -> None:
    pytest.fail("slow work began before a mistake was refused")


def refused(script: str, *options: str, folder: Path, message: str) -> None:
    with pytest.raises(UserError) as error:
        run_in_process(script, *options, "--output_dir", str(folder))
    assert message in str(error.value) and "\n" not in str(error.value), error.value
    assert not folder.exists()


@pytest.mark.parametrize(
    ("script", "options", "sentence"),
    [
        (
            "train_pretrain.py",
            ["--config", "configs/tang/pretrain.yaml", "--learning_rat", "1"],
            "--learning_rate",
        ),
        ("train_sft.py", ["--config", "configs/nowhere/sft.yaml"], "there is no recipe file"),
        (
            "train_pretrain.py",
            ["--config", "configs/tang/pretrain.yaml", "--learning_rate", "fast"],
            "learning_rate",
        ),
        ("run.py", ["--recipe", "song"], "there is no recipe song"),
        ("run.py", ["--recipe", "tang", "--corpus", "nowhere"], "nowhere"),
        (
            "run.py",
            ["--recipe", "tang-regulated", "--stages", "data,sft"],
            "the recipe tang-regulated has no stage sft",
        ),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(script, options, sentence, tmp_path):
    refused(script, *options, folder=tmp_path / "x", message=sentence)


@pytest.mark.parametrize("stage", ["sft", "grpo", "distill"])
def test_a_stage_whose_rows_were_left_out_says_why(stage, tmp_path):
    reason = "Fine-tuning is left out: the texts have no titles."
    (tmp_path / "data").mkdir()
    summary = {
        "made_from": {},
        "left_out": {"sft": reason},
        "rows": {"sft": {"train": 0, "test": 0}},
    }
    (tmp_path / "data" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    recipe = "tang" if stage == "sft" else "tang-regulated"
    options = ["--config", f"configs/{recipe}/{stage}.yaml", "--use_cpu", "true"]
    refused(f"train_{stage}.py", *options, folder=tmp_path / stage, message=reason)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--temperature", "0.5"], "there is no option --temperature"),
        (
            ["--tokenizer_name_or_path", "nowhere/at-all"],
            "no tokenizer could be loaded from nowhere/at-all",
        ),
        (["--n_positions", "4096"], "Add poems, or lower n_positions"),
        (["--per_device_train_batch_size", "500"], "or per_device_train_batch_size"),
        (
            ["--per_device_train_batch_size", "0"],
            "per_device_train_batch_size must be at least 1, not 0",
        ),
        (["--n_head", "3"], "n_embd 32 is not a multiple of n_head 3"),
        (["--n_layer", "-1"], "n_layer must be at least 1"),
        (["--dropout", "1.5"], "dropout must be below 1"),
        (["--embedding_weight_decay", "-1"], "embedding_weight_decay must be at least 0"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--report_to", "tensorbord"], "report_to tensorbord"),
        (["--hub_strategy", "every_save"], "hub_strategy every_save"),
        (["--minutes", "0"], "minutes must be above 0"),
        (
            ["--minutes", "1", "--lr_scheduler_type", "reduce_lr_on_plateau"],
            "does not work with lr_scheduler_type reduce_lr_on_plateau",
        ),
        (
            ["--dataloader_persistent_workers", "true"],
            "dataloader_persistent_workers needs dataloader_num_workers above 0",
        ),
        (["--save_only_model", "true"], "a run cannot resume from such checkpoints"),
        (
            ["--resume_from_checkpoint", "runs/other"],
            "a run resumes from the last whole checkpoint",
        ),
        (
            ["--train_sampling_strategy", "group_by_length"],
            "group_by_length does not work for pretrain",
        ),
        (["--optim", "adafactor"], "give --optim or --muon_learning_rate, not both"),
        (["--streaming", "true", "--max_steps", "-1"], "streaming has no end"),
        (["--minutes", "1", "--eval_steps", "0.1"], "eval_steps 0.1 is a fraction of all steps"),
        (["--adam_beta2", "1"], "adam_beta2 must be below 1"),
        (["--seed", "5000000000"], "seed must be at most 4294967295"),
        (["--learning_rate", "nan"], "learning_rate must be a number, not nan"),
        (["--learning_rate", "inf"], "learning_rate must be a finite number"),
        (["--max_grad_norm", "nan"], "max_grad_norm must be a number"),
        # No list of ours holds the options below. The libraries refuse them: when they read them,
        # when the trainer, its optimizer or its schedule is built, or in the first step.
        (["--deepspeed", "nowhere.json"], "deepspeed"),
        (["--fsdp", "full_shard"], "Using fsdp only works in distributed training"),
        (["--lr_scheduler_type", "warmup_stable_decay"], "num_decay_steps"),
        (["--lr_scheduler_kwargs", '{"x": 1}'], "unexpected keyword argument 'x'"),
        (["--use_liger_kernel", "true"], "liger-kernel"),
        (["--num_train_epochs", "0", "--max_steps", "-1"], "there is no step to train"),
        (
            ["--metric_for_best_model", "accuracy"],
            "metric_for_best_model accuracy is not a result of an evaluation. Choose one of loss,",
        ),
    ],
)
def test_a_mistake_behind_the_command_line_leaves_no_folder(run, options, sentence):
    config = ["--config", "configs/tang/pretrain.yaml", *SMALL]
    refused("train_pretrain.py", *config, *options, folder=run / "mistake", message=sentence)


@pytest.mark.parametrize(
    ("script", "config", "options", "sentence"),
    [
        (
            "train_dpo.py",
            "tang/dpo",
            ["--sampled_titles", "-1"],
            "sampled_titles must be at least 0",
        ),
        (
            "train_dpo.py",
            "tang/dpo",
            ["--sampled_titles", "0", "--corruptions", "2"],
            "--corruptions needs --sampled_titles",
        ),
        (
            "train_distill.py",
            "tang-regulated/distill",
            ["--rounds", "0"],
            "rounds must be at least 1",
        ),
        ("train_dpo.py", "tang/dpo", ["--corruptions", "30"], "corruptions must be at most 20"),
        (
            "train_distill.py",
            "tang-regulated/distill",
            ["--samples_per_round", "0"],
            "samples_per_round must be at least 1",
        ),
        (
            "train_distill.py",
            "tang-regulated/distill",
            ["--later_steps", "300"],
            "there is no option --later_steps",
        ),
        (
            "train_grpo.py",
            "tang-regulated/grpo",
            ["--temperature", "0"],
            "temperature must be a number above 0",
        ),
        (
            "train_distill.py",
            "tang-regulated/distill",
            ["--packing", "true"],
            "packing True does nothing in distillation",
        ),
        (
            "train_dpo.py",
            "tang/dpo",
            ["--padding_free", "true"],
            "padding_free is not supported",
        ),
        ("train_grpo.py", "tang-regulated/grpo", ["--rewards", "fame"], "there is no reward fame"),
        (
            "train_grpo.py",
            "tang-regulated/grpo",
            ["--reward_weights", "1"],
            "there are 4 rewards and 1 reward_weights",
        ),
        ("train_grpo.py", "tang-regulated/grpo", ["--num_generations", "7"], "num_generations"),
        (
            "train_grpo.py",
            "tang-regulated/grpo",
            ["--model_name_or_path", "nowhere"],
            "no checkpoint folder nowhere",
        ),
        (
            "train_grpo.py",
            "tang-regulated/grpo",
            ["--max_completion_length", "95"],
            "that max_completion_length leaves",
        ),
        # No list of ours holds the options below. The libraries refuse them.
        (
            "train_dpo.py",
            "tang/dpo",
            ["--loss_type", "sigmoidd", "sft"],
            "Unknown loss type: sigmoidd",
        ),
        ("train_dpo.py", "tang/dpo", ["--optim", "adamw_bnb_8bit"], "bitsandbytes"),
        (
            "train_dpo.py",
            "tang/dpo",
            ["--metric_for_best_model", "accuracy"],
            "metric_for_best_model accuracy is not a result",
        ),
        (
            "train_grpo.py",
            "tang-regulated/grpo",
            "--loss_type dapoo --num_generations 2 --per_device_train_batch_size 2".split(),
            "Unknown loss type",
        ),
        ("train_grpo.py", "tang-regulated/grpo", ["--use_vllm", "true"], "vLLM is not available"),
        ("train_grpo.py", "tang-regulated/grpo", ["--optim", "galore_adamw"], "galore_torch"),
        (
            "train_distill.py",
            "tang-regulated/distill",
            ["--lr_scheduler_type", "cosine_with_min_lr"],
            "min_lr",
        ),
    ],
)
def test_a_mistake_about_alignment_leaves_no_folder(
    trained, script, config, options, sentence, monkeypatch
):
    small = ["--max_completion_length", "40"] if "grpo" in script else []
    if "/distill" in config:
        monkeypatch.setattr(masked_poems, "rows_in_forms", no_slow_work)
    monkeypatch.setattr(own_pairs, "add_sampled_pairs", no_slow_work)
    if config.startswith("tang-regulated"):
        small += ["--model_name_or_path", str(trained / "sft")]
    words = ["--config", f"configs/{config}.yaml", *small, *options]
    refused(script, *words, folder=trained / "mistake", message=sentence)


def test_the_second_of_two_commands_for_one_folder_is_refused(run):
    folder = run / "twice"
    words = (
        "import time; from pathlib import Path; from poet.files import lock; "
        f"lock(Path({str(folder)!r})); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", words], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        config = ["--config", "configs/tang/pretrain.yaml", *SMALL]
        message = f"another command writes {folder} (process {other.pid})"
        refused("train_pretrain.py", *config, folder=folder, message=message)
        other.kill()


@pytest.fixture
def stage(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    return SimpleNamespace(folder=folder, is_new=True, args=SimpleNamespace(process_index=0))


def test_a_mistake_of_ours_keeps_its_traceback_and_leaves_no_folder(stage):
    with pytest.raises(ZeroDivisionError), refusing(stage):
        _ = 1 / 0
    assert not stage.folder.exists()
    untrained = SimpleNamespace(state=TrainerState())
    with pytest.raises(TypeError, match="num_decay_steps"), refusing(stage, untrained):
        get_scheduler("warmup_stable_decay", None, 1, 1)  # no `raise`: a mistake in a call


def test_an_error_after_the_first_step_is_no_refusal(stage):
    message = r"^transformers refuses .* min_lr .*\(transformers/.*\.py, line \d+\)\. Change"
    for trainer in (None, SimpleNamespace(state=TrainerState())):
        with pytest.raises(UserError, match=message), refusing(stage, trainer):
            get_scheduler("cosine_with_min_lr", None, 1, 1)
    (stage.folder / "checkpoint-1").mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), refusing(stage):
        _ = 1 / 0
    trained = SimpleNamespace(state=TrainerState(global_step=1))
    with pytest.raises(ValueError, match="min_lr"), refusing(stage, trained):
        get_scheduler("cosine_with_min_lr", None, 1, 1)
    assert (stage.folder / "checkpoint-1").exists()
