"""Dropout by bytes drops the right share, keeps the mean, and can be repeated."""

import copy
from types import SimpleNamespace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from poet.data.blocks import Blocks
from poet.speed import compile_cache
from poet.speed.dropout import ByteDropout, patch_dropout
from poet.training.options import PretrainOptions
from poet.training.trainer import PoetTrainerMixin


@pytest.mark.parametrize("compiled", [False, True])
def test_the_share_of_zeros_and_the_mean_are_right(compiled):
    if compiled and not compile_cache.ready():
        pytest.skip("needs a compiler")
    layer = ByteDropout(0.1)
    drop = torch.compile(layer) if compiled else layer
    torch.manual_seed(0)
    x = torch.ones(101, 1003, requires_grad=True)  # no multiple of eight
    first, second = drop(x), drop(x)
    assert (first == 0).float().mean().item() == pytest.approx(26 / 256, abs=4e-3)
    assert first.mean().item() == pytest.approx(1, abs=5e-3)
    assert not torch.equal(first, second)
    # Values that are dropped together have neither a common row nor a common column.
    assert (first == 0).float().mean(0).std() < 0.04 and (first == 0).float().mean(1).std() < 0.02
    (slopes,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(slopes, first.detach())
    torch.manual_seed(0)
    assert torch.equal(drop(x), first)


def test_a_model_drops_in_training_only_and_is_saved_as_before(tmp_path):
    set_seed(0)
    config = {"vocab_size": 30, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**config, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.0))
    tokens = torch.randint(30, (3, 8))
    expected = model.eval()(tokens).logits
    assert patch_dropout(model)
    assert sum(isinstance(layer, ByteDropout) for layer in model.modules()) == 1 + 2 * 2
    assert torch.equal(model(tokens).logits, expected)
    model.train()
    assert not torch.equal(model(tokens).logits, model(tokens).logits)
    model.save_pretrained(tmp_path)
    assert torch.equal(GPT2LMHeadModel.from_pretrained(tmp_path).eval()(tokens).logits, expected)


def test_a_model_without_dropout_stays_as_it_is():
    config = {"vocab_size": 30, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**config, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    assert not patch_dropout(model)
    assert not any(isinstance(layer, ByteDropout) for layer in model.modules())


class Pretrainer(PoetTrainerMixin, Trainer):
    pass


def test_a_resumed_run_drops_the_same_values(tmp_path):
    set_seed(0)
    config = {"vocab_size": 30, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    start = GPT2LMHeadModel(GPT2Config(**config, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.0))
    assert patch_dropout(start)
    text = torch.randint(30, (600,)).tolist()

    def trained(resume: str | None = None) -> torch.Tensor:
        args = TrainingArguments(
            str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, max_steps=8,
            learning_rate=1e-2, per_device_train_batch_size=4, save_steps=3,
        )  # fmt: skip
        speedups = SimpleNamespace(on=[], sampled=None)
        stage = SimpleNamespace(name="pretrain", options=PretrainOptions(), speedups=speedups)
        model = copy.deepcopy(start)
        trainer = Pretrainer(model, args, stage=stage, train_dataset=Blocks(text, 8, 0))
        trainer.train(resume_from_checkpoint=resume)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    whole = trained()
    assert torch.equal(trained(str(tmp_path / "checkpoint-3")), whole)
