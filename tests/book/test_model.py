"""The model in one file is the model that the training scripts build."""

import pytest
import torch
from helpers import ROOT
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from book.code import model as box
from poet_tokenizer import encode_text

ROWS, LENGTH, VOCABULARY = 3, 20, 281


@pytest.fixture
def ids():
    return torch.randint(VOCABULARY, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))


def reference(folder) -> GPT2LMHeadModel:
    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    model.loss_type = "ForCausalLM"
    return model


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_logits_and_loss_equal_those_of_transformers(checkpoint, ids, dtype, tolerance):
    dtype = getattr(torch, dtype)  # with more digits, only the order of sums still differs
    expected = reference(checkpoint).to(dtype)(ids, labels=ids)
    logits = box.load(checkpoint).to(dtype)(ids)
    assert logits.shape == (ROWS, LENGTH, VOCABULARY) and logits.std() > 0.5
    torch.testing.assert_close(logits, expected.logits, rtol=0, atol=tolerance)
    torch.testing.assert_close(
        box.loss(logits, ids).float(), expected.loss.float(), rtol=0, atol=1e-5
    )


def test_gradients_equal_those_of_transformers(checkpoint, ids):
    expected, model = reference(checkpoint), box.load(checkpoint)
    expected(ids, labels=ids).loss.backward()
    box.loss(model(ids), ids).backward()
    for name in ("wte.weight", "wpe.weight", "h.0.ln_1.weight", "h.2.mlp.c_fc.bias"):
        torch.testing.assert_close(
            model.get_parameter(name).grad,
            expected.get_parameter(f"transformer.{name}").grad,
            rtol=1e-3,
            atol=1e-5,
        )


def test_random_weights_are_as_large_as_those_of_transformers():
    config = GPT2Config(vocab_size=500, n_positions=128, n_embd=128, n_layer=3, n_head=4)
    expected = GPT2LMHeadModel(config).transformer
    model = box.GPT(box.Config(vocab_size=500))
    for name, weight in model.named_parameters():
        std = expected.get_parameter(name).std().item()
        assert weight.std().item() == pytest.approx(std, rel=0.1), name


def test_three_steps_lower_the_loss(checkpoint, ids):
    torch.manual_seed(0)
    model = box.GPT(box.load(checkpoint).config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = [box.training_step(model, optimizer, ids) for _ in range(4)]
    assert losses == sorted(losses, reverse=True) and losses[0] - losses[-1] > 0.05


def test_the_script_runs_on_a_checkpoint(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(box.sys, "argv", ["model.py", str(checkpoint)])
    box.main()
    printed = capsys.readouterr().out
    assert f"logits (1, 64, {VOCABULARY})" in printed
    steps = [float(line.split()[-1]) for line in printed.splitlines() if line.startswith("step")]
    assert len(steps) == 20 and steps[-1] < steps[0]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["pretrain", "sft", "dpo"])
def test_checkpoints_of_make_run_have_the_same_logits(sample_run, stage):
    folder = sample_run[0] / stage
    text = "春夜山居\n閑林竹徑春棲草，落日歸山寒食家。\n簾外一家不爲住，眼前留得少年花。"
    ids = torch.tensor([encode_text(AutoTokenizer.from_pretrained(folder), text)])
    with torch.no_grad():
        logits, expected = box.load(folder)(ids), reference(folder)(ids).logits
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-5)


def test_the_file_is_short_and_needs_no_transformers():
    lines = (ROOT / "book" / "code" / "model.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    assert not [line for line in lines if "import" in line and "transformers" in line]
