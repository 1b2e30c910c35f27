"""Losses of all stages, compared with plain torch on a small model."""

import copy
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from helpers import in_processes
from rich.cells import cell_len
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from poet.data.blocks import Blocks, eval_blocks
from poet.errors import UserError
from poet.speed import compile_cache, scoring
from poet.speed.apply import apply_speedups
from poet.training import clock
from poet.training.callbacks import ShowSample, side_by_side
from poet.training.options import PretrainOptions
from poet.training.stage import Stage
from poet.training.trainer import UNKNOWN_STEPS, NonFiniteLoss, PoetTrainerMixin
from poet_tokenizer import build_tokenizer

CHARACTERS = [chr(0x5000 + i) for i in range(40)]
QUIET = {
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "save_strategy": "no",
    "disable_tqdm": True,
}
QUIET |= {"logging_steps": 1, "logging_nan_inf_filter": False, "learning_rate": 1e-2}


def stage(
    name: str = "pretrain", muon_learning_rate: float | None = None, speedups=None
) -> SimpleNamespace:
    """Returns the attributes of a stage that a trainer reads."""
    options = PretrainOptions(muon_learning_rate=muon_learning_rate)
    return SimpleNamespace(name=name, options=options, speedups=speedups)


class Pretrainer(PoetTrainerMixin, Trainer):
    pass


class Tuner(PoetTrainerMixin, SFTTrainer):
    pass


def tuner(model, tokenizer, rows, folder, **settings) -> Tuner:
    args = SFTConfig(output_dir=str(folder), max_length=48, **settings, **QUIET)
    return Tuner(
        copy.deepcopy(model),
        args,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        stage=stage(),
    )


class Aligner(PoetTrainerMixin, DPOTrainer):
    pass


@pytest.fixture
def tokenizer():
    return build_tokenizer(CHARACTERS, 48)


@pytest.fixture
def model(tokenizer):
    set_seed(0)
    special = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    dropout = dict.fromkeys(["resid_pdrop", "embd_pdrop", "attn_pdrop"], 0.0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=48,
        n_embd=16,
        n_layer=1,
        n_head=2,
        **special,
        **dropout,
    )
    model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"
    return model


def text(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(10, 40, (count,), generator=generator).tolist()


def pretrainer(model, folder: Path, muon: float | None = None, **settings) -> Pretrainer:
    args = TrainingArguments(output_dir=str(folder), **{**QUIET, "max_steps": 2, **settings})
    return Pretrainer(
        model,
        args,
        stage=stage(muon_learning_rate=muon),
        train_dataset=Blocks(text(2000), 48, 0),
        eval_dataset=eval_blocks(text(1100, 1), 48),
    )


def test_every_saved_checkpoint_has_a_tokenizer_for_transformers_4(model, tokenizer, tmp_path):
    args = TrainingArguments(
        str(tmp_path), **{**QUIET, "max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    )
    rows = Blocks(text(2000), 48, 0)
    trainer = Pretrainer(model, args, stage=stage(), train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.save_model(str(tmp_path / "published"))
    for name in ("checkpoint-1", "checkpoint-2", "published"):
        config = json.loads((tmp_path / name / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
        assert config["additional_special_tokens"] == ["<INS>", "<INP>", "<RES>"]
        assert config["chat_template"] == tokenizer.chat_template
        assert not (tmp_path / name / "chat_template.jinja").exists()


def logged(trainer: Trainer, key: str) -> list[float]:
    return [log[key] for log in trainer.state.log_history if key in log]


@pytest.mark.parametrize("batch", [3, 8])
def test_pretraining_losses_are_those_of_the_model_itself(model, tmp_path, batch):
    trainer = pretrainer(
        model,
        tmp_path,
        max_steps=1,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=batch,
    )
    rows = torch.tensor(trainer.eval_dataset["input_ids"])
    with torch.no_grad():
        assert trainer.evaluate()["eval_loss"] == pytest.approx(
            model(rows, labels=rows).loss.item(), abs=1e-4
        )
    untrained = copy.deepcopy(model)
    first = next(iter(trainer.get_train_dataloader()))["input_ids"]
    trainer.train()
    with torch.no_grad():
        assert logged(trainer, "loss")[0] == pytest.approx(
            untrained(first, labels=first).loss.item(), abs=1e-4
        )


@pytest.mark.parametrize("blocks", [3, 8, 9, 21])
def test_processes_without_held_out_rows_take_part_in_the_evaluation(model, tmp_path, blocks):
    def evaluate() -> float:
        trainer = pretrainer(copy.deepcopy(model), tmp_path, per_device_eval_batch_size=4)
        trainer.eval_dataset = trainer.eval_dataset.select(range(blocks))
        return trainer.evaluate()["eval_loss"]

    expected = evaluate()
    assert in_processes(2, evaluate) == [pytest.approx(expected, abs=1e-5)] * 2


def poems(count: int, seed: int) -> list[tuple[list, list]]:
    """(prompt, answer) in messages; lengths vary."""
    generator = torch.Generator().manual_seed(seed)

    def some(length: int) -> str:
        return "".join(
            CHARACTERS[i] for i in torch.randint(40, (length,), generator=generator).tolist()
        )

    return [
        (
            [{"role": "user", "content": some(3)}],
            [{"role": "assistant", "content": some(5 + i % 7)}],
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("padding", ["own", "end mark"])
def test_fine_tuning_counts_each_character_of_the_poems_once_and_nothing_else(
    model, tokenizer, tmp_path, batch, padding
):
    scoring.patch_trl_scoring()
    if padding == "end mark":  # which is learned all the same
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.pad_token = tokenizer.eos_token
    rows = Dataset.from_list(
        [{"prompt": prompt, "completion": answer} for prompt, answer in poems(11, 0)]
    )
    trainer = tuner(model, tokenizer, rows, tmp_path, per_device_eval_batch_size=batch)
    nats = tokens = 0.0
    for row in rows:
        ids = tokenizer.apply_chat_template(row["prompt"] + row["completion"])["input_ids"]
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True)[
            "input_ids"
        ]
        labels = torch.tensor([[-100] * len(prompt) + ids[len(prompt) :]])
        with torch.no_grad():
            loss = model(torch.tensor([ids]), labels=labels).loss.item()
        nats, tokens = nats + loss * (len(ids) - len(prompt)), tokens + len(ids) - len(prompt)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(nats / tokens, abs=1e-4)


@pytest.mark.parametrize("settings", [{"loss_type": "dft"}, {"label_smoothing_factor": 0.1}])
def test_held_out_poems_have_a_plain_likelihood_whatever_loss_is_trained(
    model, tokenizer, tmp_path, settings
):
    rows = Dataset.from_list([{"prompt": p, "completion": answer} for p, answer in poems(5, 0)])

    plain = tuner(model, tokenizer, rows, tmp_path)
    other = tuner(model, tokenizer, rows, tmp_path, **settings, max_steps=1)
    expected = plain.evaluate()["eval_loss"]
    assert other.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-5)
    other.train()
    assert logged(other, "loss")[0] != pytest.approx(expected, abs=1e-4)  # it trains its own loss


def test_label_smoothing_is_for_pretraining_and_not_for_its_evaluation(model, tmp_path):
    expected = pretrainer(copy.deepcopy(model), tmp_path).evaluate()["eval_loss"]
    smoothed = pretrainer(model, tmp_path, label_smoothing_factor=0.3)
    assert smoothed.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-5)


def test_alignment_begins_at_ln_2_with_rewards_of_zero(model, tokenizer, tmp_path):
    scoring.patch_trl_scoring()
    pairs = zip(poems(8, 0), poems(8, 1), strict=True)
    rows = Dataset.from_list(
        [{"prompt": p, "chosen": c, "rejected": r} for (p, c), (_, r) in pairs]
    )
    settings = {**QUIET, "max_steps": 3, "per_device_train_batch_size": 4}
    args = DPOConfig(output_dir=str(tmp_path), max_length=48, **settings)
    trainer = Aligner(
        model,
        ref_model=copy.deepcopy(model),
        args=args,
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=tokenizer,
        stage=stage(),
    )
    before = trainer.evaluate()
    assert before["eval_loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert before["eval_rewards/chosen"] == before["eval_rewards/rejected"] == 0
    trainer.train()
    losses = logged(trainer, "loss")
    assert losses[0] == pytest.approx(math.log(2), abs=1e-3) and losses[-1] < 0.68


@pytest.mark.parametrize("pairs", [3, 7])
def test_processes_evaluate_each_pair_once(model, tokenizer, tmp_path, pairs):
    reference = copy.deepcopy(model)
    reference.transformer.wte.weight.data.mul_(5)  # the losses of the pairs differ
    answers = zip(poems(pairs, 0), poems(pairs, 1), strict=True)
    rows = Dataset.from_list(
        [{"prompt": p, "chosen": c, "rejected": r} for (p, c), (_, r) in answers]
    )

    def evaluate() -> list[float]:
        settings = {"max_length": 48, "per_device_eval_batch_size": 2, **QUIET}
        trainer = Aligner(
            copy.deepcopy(model),
            ref_model=copy.deepcopy(reference),
            args=DPOConfig(output_dir=str(tmp_path), **settings),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=tokenizer,
            stage=stage("dpo"),
        )
        measured = trainer.evaluate()
        return [measured["eval_loss"], measured["eval_rewards/margins"]]

    (one,) = in_processes(1, evaluate)
    assert in_processes(2, evaluate) == [pytest.approx(one, abs=1e-5)] * 2


def test_pairs_that_are_padded_alike_are_batched_together(model, tokenizer, tmp_path):
    short, long = ({"role": "assistant", "content": "".join(CHARACTERS[:n])} for n in (2, 30))
    title = [{"role": "user", "content": CHARACTERS[0]}]
    kinds = [
        (short, short),
        (long, short),
        (short, short),
        (short, long),
    ]  # half of the pairs are short on both sides
    rows = Dataset.from_list(
        [{"prompt": title, "chosen": [c], "rejected": [r]} for c, r in kinds * 16]
    )
    settings = {
        **QUIET,
        "per_device_train_batch_size": 2,
        "train_sampling_strategy": "group_by_length",
    }
    args = DPOConfig(output_dir=str(tmp_path), max_length=48, **settings)
    trainer = Aligner(
        model,
        ref_model=copy.deepcopy(model),
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
        stage=stage(),
    )
    widths = [batch["input_ids"].shape[1] for batch in trainer.get_train_dataloader()]
    # 64 pairs are sorted 16 at a time. At most one batch per group mixes short with long.
    assert len(widths) == 32 and widths.count(min(widths)) >= 12


def test_the_global_batch_alone_decides_not_how_it_is_accumulated(model, tmp_path):
    found = []
    for size, accumulated in ((4, 1), (2, 2), (1, 4)):
        shape = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated}
        trainer = pretrainer(copy.deepcopy(model), tmp_path, max_steps=3, **shape)
        trainer.train()
        found.append(logged(trainer, "loss") + logged(trainer, "grad_norm"))
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-5)


@pytest.mark.parametrize("muon", [None, 0.02])
def test_bfloat16_and_the_loss_alone_keep_the_losses_of_the_slow_path(model, tmp_path, muon):
    settings = {"max_steps": 8, "muon": muon, "per_device_train_batch_size": 4}
    slow = pretrainer(copy.deepcopy(model), tmp_path, **settings)
    fast = pretrainer(model, tmp_path, bf16=True, **settings)
    apply_speedups(model, fast.args, stage="pretrain")
    for trainer in (slow, fast):
        trainer.train()
    assert (
        fast.model.config._attn_implementation != slow.model.config._attn_implementation
    )  # the kernel is left out
    residuals = [a - b for a, b in zip(logged(fast, "loss"), logged(slow, "loss"), strict=True)]
    assert max(map(abs, residuals)) < 0.02 and abs(sum(residuals) / len(residuals)) < 0.005


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_loss_that_is_no_number_stops_the_run_and_is_not_saved(model, tmp_path, value):
    class Spoil(TrainerCallback):
        def on_step_end(self, args, state, control, model, **kwargs):
            if state.global_step == 2:
                model.transformer.wpe.weight.data[0, 0] = value

    trainer = pretrainer(model, tmp_path, max_steps=6, save_strategy="steps", save_steps=1)
    trainer.add_callback(Spoil())
    with pytest.raises(NonFiniteLoss, match="step 3"):
        trainer.train()
    # Step 2 was saved by the callback that spoiled it; nothing after it was.
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [
        "checkpoint-1",
        "checkpoint-2",
    ]


def test_a_gradient_that_is_none_ends_the_run_where_nothing_is_clipped(model, tmp_path):
    trainer = pretrainer(model, tmp_path, max_steps=2, max_grad_norm=0.0)
    model.transformer.wpe.weight.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(NonFiniteLoss, match="the gradient norm at step 1"):
        trainer.train()


def test_the_best_checkpoint_is_kept_and_found_again(model, tmp_path):
    # The best is taken to be the worst, since that comes first.
    best = {"load_best_model_at_end": True, "save_total_limit": 1, "greater_is_better": True}
    every = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    trainer = pretrainer(
        model, tmp_path, max_steps=6, metric_for_best_model="loss", **best, **every
    )
    trainer.train()
    found = logged(trainer, "eval_loss")
    assert found[0] > max(found[1:])
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")
    assert (tmp_path / "checkpoint-2").is_dir()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(found[0], abs=1e-5)


def test_samples_with_half_a_line_are_gone_on_with(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text(
        '{"step": 2, "text": "春"}\n{"step": 4, "text": "夏"}\n{"step": 3, "te', encoding="utf-8"
    )
    state = TrainerState(global_step=2)
    shown = SimpleNamespace(samples=path, sample_title="春")
    ShowSample(shown, None).on_train_begin(None, state, None)
    assert path.read_text(encoding="utf-8") == '{"step": 2, "text": "春"}\n'


@pytest.mark.parametrize("text", ["春夜喜雨，\n春", "A river runs,\nto me."])
def test_two_samples_stand_side_by_side_in_any_script(text):
    rows = side_by_side({"text": text, "reference": "|\n|"})
    starts = {cell_len(row[: row.index("|")]) for row in rows[1:]}
    assert starts == {rows[0].index("reference")}


def test_the_oldest_checkpoints_go(model, tmp_path):
    trainer = pretrainer(
        model, tmp_path, max_steps=12, save_strategy="steps", save_steps=3, save_total_limit=2
    )
    trainer.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-12", "checkpoint-9"]
    assert not list(tmp_path.rglob("training_args.bin"))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_saved_models_use_their_cache(model, tmp_path, checkpointing):
    settings = {"activation_checkpointing": checkpointing, "save_strategy": "steps"}
    trainer = pretrainer(model, tmp_path, max_steps=1, **settings)
    trainer.train()
    trainer.save_model(str(tmp_path))
    for folder in (tmp_path, tmp_path / "checkpoint-1"):
        assert GPT2Config.from_pretrained(folder).use_cache


@pytest.mark.slow
@pytest.mark.parametrize("muon", [None, 0.02])
def test_a_second_start_repeats_the_first(model, tmp_path, muon):
    settings = {"max_steps": 10, "save_strategy": "steps", "save_steps": 7, "muon": muon}
    whole = pretrainer(copy.deepcopy(model), tmp_path, **settings)
    whole.train()
    again = pretrainer(copy.deepcopy(model), tmp_path, **settings)
    again.train(
        resume_from_checkpoint=str(tmp_path / "checkpoint-7")
    )  # in the middle of the second epoch
    assert logged(again, "loss") == logged(whole, "loss")


def test_workers_that_outlive_an_epoch_change_no_loss(model, tmp_path):
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    alone, served = (
        pretrainer(copy.deepcopy(model), tmp_path, max_steps=12, **settings)
        for settings in ({}, workers)
    )
    for trainer in (alone, served):
        trainer.train()
    assert served.state.epoch > 2 and logged(served, "loss") == logged(alone, "loss")


def test_a_second_start_with_such_workers_repeats_the_first(model, tmp_path):
    model.transformer.drop.p = 0.2  # dropout draws from the generator of the data loaders
    workers = {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}
    settings = {"max_steps": 12, "save_strategy": "steps", "save_steps": 7, **workers}
    whole = pretrainer(copy.deepcopy(model), tmp_path, **settings)
    whole.train()
    again = pretrainer(copy.deepcopy(model), tmp_path, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    assert logged(again, "loss") == logged(whole, "loss")


@pytest.mark.slow
def test_compilation_happens_once_for_training_and_once_for_evaluation(model, tmp_path):
    from torch._dynamo.utils import counters

    graphs = []

    class Count(TrainerCallback):
        def on_evaluate(self, args, state, control, **kwargs):
            graphs.append(counters["stats"]["unique_graphs"])

    shapes = {
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "dataloader_drop_last": True,
    }
    trainer = pretrainer(
        model,
        tmp_path,
        max_steps=16,
        torch_compile=True,
        eval_strategy="steps",
        eval_steps=4,
        **shapes,
    )
    trainer.add_callback(Count())
    counters.clear()
    trainer.train()
    assert (
        len(graphs) == 4
        and graphs[0] == graphs[-1]
        and (graphs[0] > 0 or not compile_cache.ready())
    )


SHAPES = [
    {"teraflop": 0, "n_layer": 1, "learning_rate": 0.5},
    {"teraflop": 1e-9, "n_layer": 3},
    {"teraflop": 1e12},
]


@pytest.mark.parametrize(
    ("minutes", "words", "layers"),
    [(1e-16, [], 1), (1.0, [], 3), (1.0, ["--n_layer", "2"], 2), (None, [], 2)],
)
def test_the_clock_takes_the_row_that_its_budget_is_enough_for(
    tmp_path, monkeypatch, minutes, words, layers
):
    monkeypatch.setattr("sys.argv", ["train_pretrain.py", *words])
    options = PretrainOptions(n_layer=2, minutes=minutes, shapes=SHAPES)
    args = TrainingArguments(output_dir=str(tmp_path), **QUIET)
    clock.choose_shape(options, args)
    assert options.n_layer == layers
    assert args.learning_rate == (0.5 if layers == 1 else 1e-2)


@pytest.mark.parametrize(("bf16_gflops", "layers"), [(100, 1), (200, 2), (1000, 2)])
def test_very_fast_products_do_not_mean_a_very_large_budget(
    tmp_path, monkeypatch, bf16_gflops, layers
):
    speeds = {torch.float32: 100, torch.bfloat16: bf16_gflops}
    monkeypatch.setattr("poet.speed.hardware.matmul_gflops", speeds.get)
    rows = [{"teraflop": share, "n_layer": n} for share, n in ((0, 1), (10, 2), (30, 3))]
    options = PretrainOptions(minutes=1.0, shapes=rows)
    clock.choose_shape(options, TrainingArguments(str(tmp_path), **{**QUIET, "bf16": True}))
    assert options.n_layer == layers


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"n_layers": 2}, "shapes: there is no option n_layers"),
        ({"n_layer": "two"}, "shapes: n_layer must be a number, not two"),
        ({"n_embd": 30, "n_head": 4}, "shapes: n_embd 30 is not a multiple of n_head 4"),
    ],
)
def test_a_row_that_cannot_be_trained_is_named(tmp_path, row, sentence):
    options = PretrainOptions(minutes=1.0, shapes=[{"teraflop": 0, **row}])
    with pytest.raises(UserError, match=sentence):
        clock.choose_shape(options, TrainingArguments(output_dir=str(tmp_path), **QUIET))
    assert not list(tmp_path.iterdir())


def test_a_run_by_the_clock_goes_on_in_its_own_shape(tmp_path):
    (tmp_path / "_arguments.json").write_text(
        '{"n_layer": 1, "learning_rate": 0.25}', encoding="utf-8"
    )
    (tmp_path / "checkpoint-2").mkdir()
    options = PretrainOptions(n_layer=2, minutes=1.0, shapes=SHAPES)
    args = TrainingArguments(output_dir=str(tmp_path), **QUIET)
    clock.choose_shape(options, args)
    assert (options.n_layer, args.learning_rate) == (1, 0.25)


class Watch(TrainerCallback):
    """A step takes two seconds, an evaluation five."""

    def __init__(self, seconds: float = 0.0, stop_at: int | None = None):
        self.seconds, self.stop_at = seconds, stop_at

    def __call__(self):
        return self.seconds

    def on_step_end(self, args, state, control, **kwargs):
        self.seconds += 2
        if state.global_step == self.stop_at:
            control.should_save = control.should_training_stop = True
        return control

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        metrics["eval_runtime"] = 5.0
        self.seconds += 5


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [None, 70, 140])
def test_by_the_clock_training_ends_on_time_with_a_rate_of_zero(model, tmp_path, stop_at):
    shape = {
        "lr_scheduler_type": "linear",
        "warmup_steps": 5,
        "eval_strategy": "steps",
        "eval_steps": 50,
    }

    def run(watch, checkpoint=None, planned=None):
        trainer = pretrainer(copy.deepcopy(model), tmp_path, max_steps=UNKNOWN_STEPS, **shape)
        trainer.seconds_so_far = lambda before=watch.seconds: before
        trainer.add_callback(watch)
        trainer.add_callback(clock.TrainByTheClock(trainer, minutes=5, planned=planned, now=watch))
        trainer.train(resume_from_checkpoint=checkpoint)
        return trainer

    trainer = run(watch := Watch(stop_at=stop_at))
    if stop_at:
        trainer = run(
            Watch(watch.seconds), str(tmp_path / f"checkpoint-{stop_at}"), trainer.state.max_steps
        )
    # 300 seconds are 145 steps and two evaluations. The last evaluation follows training.
    assert 140 <= trainer.state.global_step <= 150
    rates = logged(trainer, "learning_rate")
    assert max(rates) == pytest.approx(1e-2) and rates[-1] < 3e-4
    assert all(after < before for before, after in itertools.pairwise(rates[20:]))


def test_a_tokenizer_without_a_padding_mark_pads_with_its_end_mark(tmp_path):
    tokenizer = build_tokenizer("春夜喜雨", 32)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "own")
    loaded = Stage.load_tokenizer(SimpleNamespace(), str(tmp_path / "own"), 32)
    assert loaded.pad_token == loaded.eos_token and loaded.get_vocab() == tokenizer.get_vocab()
