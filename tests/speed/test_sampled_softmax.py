"""Pretraining on a sample of the vocabulary: candidates, loss, gradients, logs and the clock."""

import copy
from types import SimpleNamespace

import pytest
import torch
from helpers import in_processes
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainingArguments,
    set_seed,
)

from poet.data.blocks import Blocks, eval_blocks
from poet.speed.apply import apply_speedups
from poet.speed.sampled_softmax import CannotSample, SampledVocabulary, chance, draws_for
from poet.speed.scoring import patch_forward_to_return_loss
from poet.training import clock
from poet.training.options import PretrainOptions
from poet.training.sampled_steps import SampledSteps
from poet.training.trainer import UNKNOWN_STEPS, PoetTrainerMixin

VOCABULARY, LENGTH, BATCH, SIZE = 300, 12, 4, 100
QUIET = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no"}
QUIET |= {"per_device_train_batch_size": BATCH, "disable_tqdm": True, "learning_rate": 1e-2}
QUIET |= {"max_steps": 20, "logging_steps": 4}
SAMPLED, WHOLE = [4, 8, 12, 16, 17], [20]  # 85 % of 20 steps, with a log where they end


def text(count: int, seed: int = 0) -> list[int]:
    """Returns ids of which the first are frequent and the last are rare, as characters are."""
    weights = 1 / torch.arange(1.0, VOCABULARY + 1)
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(weights, count, replacement=True, generator=generator).tolist()


@pytest.fixture
def model() -> GPT2LMHeadModel:
    set_seed(0)
    nothing = dict.fromkeys(["resid_pdrop", "embd_pdrop", "attn_pdrop"], 0.0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=16, n_layer=1, n_head=2, **nothing
    )
    model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"
    return model


def vocabulary(size: int = SIZE, tokens: int = BATCH * LENGTH, seed: int = 0, ids=None):
    return SampledVocabulary(ids or text(20_000), VOCABULARY, size, tokens, seed)


def labels_of(seed: int = 0) -> torch.Tensor:
    return torch.tensor(text(BATCH * LENGTH, seed)).view(BATCH, LENGTH)


def gradients(model: GPT2LMHeadModel) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


# ------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize("tie", [True, False])
def test_with_all_characters_as_candidates_nothing_changes(model, tie):
    if not tie:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.1)
    other, tokens = copy.deepcopy(model), labels_of()
    patch_forward_to_return_loss(other)
    labels = tokens.clone()
    labels[0, :5] = -100
    candidates = torch.randperm(VOCABULARY)
    place = candidates.argsort()
    expected = model(input_ids=tokens, labels=labels, num_items_in_batch=40).loss
    found = other(
        input_ids=tokens,
        labels=torch.where(labels < 0, labels, place[labels.clamp(min=0)]),
        num_items_in_batch=40,
        candidates=candidates,
        log_chance=torch.zeros(VOCABULARY),
    ).loss
    assert torch.allclose(found, expected, atol=1e-6)
    expected.backward()
    found.backward()
    assert torch.allclose(gradients(other), gradients(model), atol=1e-6)


@pytest.mark.slow
def test_the_correction_makes_the_mean_gradient_that_of_the_whole_vocabulary(model):
    """The mean over 3,000 batches is within 8 % of the whole one. Uncorrected, it is 31 % off."""
    patch_forward_to_return_loss(model)
    model.transformer.h = torch.nn.ModuleList()  # the last layer alone is quick
    with torch.no_grad():  # scores of random weights are so alike that nothing could be seen
        model.lm_head.weight.mul_(10)
    draw = vocabulary()

    def mean_gradient(kind: str) -> torch.Tensor:
        model.zero_grad()
        for seed in range(3000):
            tokens = labels_of(seed)
            inputs = {"input_ids": tokens, "labels": tokens}
            if kind != "whole":
                inputs = draw.sample(inputs, seed)
            if kind == "uncorrected":
                inputs["log_chance"] = torch.zeros(SIZE)
            (model(**inputs).loss / 3000).backward()
        return gradients(model)

    whole = mean_gradient("whole")
    distances = {
        kind: float((mean_gradient(kind) - whole).norm() / whole.norm())
        for kind in ("corrected", "uncorrected")
    }
    assert distances["corrected"] < 0.08 and distances["uncorrected"] > 0.3, distances


# ------------------------------------------------------------------------- the candidates


def test_candidates_are_the_own_characters_and_others_by_frequency():
    draw, counts = vocabulary(), torch.zeros(VOCABULARY)
    for seed in range(2000):
        labels = labels_of(seed)
        found = draw.candidates(labels, seed)
        assert len(found.unique()) == SIZE and set(labels.flatten().tolist()) <= set(found.tolist())
        counts[found] += 1
    expected = draw.log_chance.exp()
    assert expected.sum() == pytest.approx(SIZE, abs=0.1)
    assert (counts / 2000 - expected).abs().max() < 0.06


def test_a_draw_depends_on_the_seed_the_step_and_the_batch_alone():
    first, again, other = vocabulary(), vocabulary(), vocabulary(seed=5_000_000_000)
    labels = labels_of(1)
    for step in (1, 2):
        torch.rand(step)  # other random numbers make no difference
        assert torch.equal(first.candidates(labels, step), again.candidates(labels, step))
    assert not torch.equal(first.candidates(labels, 1), first.candidates(labels, 2))
    assert not torch.equal(first.candidates(labels, 1), other.candidates(labels, 1))


def test_the_chance_of_a_token_in_several_draws():
    frequencies = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    assert chance(frequencies, 2).tolist() == pytest.approx([0.75, 0.51, 0.36])
    assert chance(frequencies, draws_for(frequencies, 2)).sum() == pytest.approx(2)


def test_a_batch_with_more_different_characters_is_scored_whole():
    draw = vocabulary(size=60, tokens=12)
    inputs = {"input_ids": None, "labels": torch.arange(61)[None]}
    assert draw.sample(inputs, 1) is inputs


@pytest.mark.parametrize(
    ("size", "tokens", "reason"),
    [
        (151, 48, "the vocabulary has only 300 tokens"),
        (20, 48, "a batch can have 48 different tokens"),
    ],
)
def test_a_sample_that_cannot_work_is_refused(size, tokens, reason):
    with pytest.raises(CannotSample, match=reason):
        vocabulary(size, tokens)


@pytest.mark.parametrize("size", [0, SIZE, 200])
def test_the_speed_ups_say_whether_they_sample(model, tmp_path, size):
    args = TrainingArguments(
        str(tmp_path), use_cpu=True, report_to="none", per_device_train_batch_size=BATCH
    )
    speedups = apply_speedups(
        model, args, stage="pretrain", sampled_vocabulary=size, ids=text(20_000)
    )
    name = f"loss over {size} sampled characters"
    assert (name in speedups.on) is (size == SIZE) is (speedups.sampled is not None)
    assert (f"{name} (the vocabulary has only 300 tokens)" in speedups.off) is (size == 200)


# --------------------------------------------------------------------------- a training


class Pretrainer(SampledSteps, PoetTrainerMixin, Trainer):
    pass


def pretrainer(model, folder, size: int = SIZE, **settings) -> Pretrainer:
    model = copy.deepcopy(model)
    args = TrainingArguments(str(folder), **QUIET | settings)
    ids = text(20_000)
    speedups = apply_speedups(model, args, stage="pretrain", sampled_vocabulary=size, ids=ids)
    stage = SimpleNamespace(name="pretrain", options=PretrainOptions(), speedups=speedups)
    return Pretrainer(
        model,
        args,
        stage=stage,
        train_dataset=Blocks(ids, LENGTH, 0),
        eval_dataset=eval_blocks(text(600, 1), LENGTH),
    )


def logged(trainer: Trainer, key: str) -> dict[int, float]:
    return {log["step"]: log[key] for log in trainer.state.log_history if key in log}


def test_logs_name_the_sampled_losses_and_the_last_steps_score_all(model, tmp_path):
    trainer = pretrainer(model, tmp_path)
    trainer.train()
    assert [*logged(trainer, "sampled_loss")] == SAMPLED and [*logged(trainer, "loss")] == WHOLE
    plain = pretrainer(model, tmp_path, size=0)
    plain.train()
    assert [*logged(plain, "loss")] == [4, 8, 12, 16, 20]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(
        plain_loss(trainer.model, trainer.eval_dataset), abs=1e-5
    )


def plain_loss(model: GPT2LMHeadModel, rows) -> float:
    tokens = torch.tensor(rows["input_ids"])
    with torch.no_grad():
        logits = model(input_ids=tokens).logits[:, :-1].flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).item()


@pytest.mark.parametrize("save_at", [6, 18])  # among the sampled steps, and after them
def test_a_resumed_run_draws_the_same_candidates(model, tmp_path, save_at):
    saving = {"save_strategy": "steps", "save_steps": save_at, "gradient_accumulation_steps": 2}
    whole = pretrainer(model, tmp_path, **saving)
    whole.train()
    again = pretrainer(model, tmp_path, **saving)
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{save_at}"))
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_two_processes_sample_and_end_with_the_same_weights(model, tmp_path):
    def train() -> tuple[list[int], float]:
        trainer = pretrainer(model, tmp_path)
        trainer.train()
        total = sum(p.double().sum().item() for p in trainer.model.parameters())
        return [*logged(trainer, "sampled_loss")], total

    first, second = in_processes(2, train)
    assert first == second and first[0] == SAMPLED


class Watch:
    """A clock. A sampled step takes one second, another step three."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_by_the_clock_both_kinds_of_step_are_timed(model, tmp_path):
    trainer = pretrainer(model, tmp_path, max_steps=UNKNOWN_STEPS)
    watch = Watch()
    trainer.seconds_so_far = lambda: 0.0
    step, kinds = trainer.training_step, []

    def timed(*args, **kwargs):
        loss = step(*args, **kwargs)
        kinds.append(trainer.is_sampled)
        watch.seconds += 1 if trainer.is_sampled else 3
        return loss

    trainer.training_step = timed
    trainer.add_callback(clock.TrainByTheClock(trainer, minutes=3, now=watch))
    trainer.train()
    assert watch.seconds == pytest.approx(180, abs=4)
    first, last = kinds.index(True), len(kinds) - kinds[::-1].index(True)
    assert first == 13 and all(kinds[first:last])
    assert len(kinds) - last == pytest.approx(0.15 * len(kinds), abs=4)


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_no_log_is_a_mean_of_both_kinds(model, tmp_path, strategy):
    trainer = pretrainer(
        model, tmp_path, max_steps=10, num_train_epochs=1, logging_strategy=strategy,
        logging_steps=100,
    )  # fmt: skip
    trainer.train()
    assert [*logged(trainer, "sampled_loss")] == [9]  # of ten steps, the last one is whole
    assert not logged(trainer, "train_loss")


def test_label_smoothing_scores_all_characters(model, tmp_path):
    args = TrainingArguments(str(tmp_path), **QUIET, label_smoothing_factor=0.1)
    ids = text(20_000)
    speedups = apply_speedups(model, args, stage="pretrain", sampled_vocabulary=SIZE, ids=ids)
    assert speedups.sampled is None and any("label smoothing" in reason for reason in speedups.off)
