"""Scoring in tiles gives the losses and gradients of scoring all at once, and leaves a plain model."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, set_seed

from poet.scoring import score_in_tiles

pytestmark = pytest.mark.skipif(
    not hasattr(torch.nn.functional, "linear_cross_entropy"), reason="this torch has no linear_cross_entropy"
)


@pytest.fixture
def plain() -> GPT2LMHeadModel:
    set_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=12, n_embd=16, n_layer=1, n_head=2))
    model.loss_type = "ForCausalLM"
    return model.eval()  # dropout would draw for each apart


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("counted", [None, 100])
def test_tiles_give_the_loss_and_the_gradients_of_the_whole(plain, tie, counted):
    if not tie:
        plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.detach() + 0.1)
    tiled = copy.deepcopy(plain)
    score_in_tiles(tiled, tokens=7)  # 36 positions: the last tile is a short one
    tokens = torch.randint(50, (3, 12))
    labels = tokens.clone()
    labels[0, :5] = -100  # a prompt
    for model in (plain, tiled):
        model(input_ids=tokens, labels=labels, num_items_in_batch=counted).loss.backward()
    expected = plain(input_ids=tokens, labels=labels, num_items_in_batch=counted).loss
    found = tiled(input_ids=tokens, labels=labels, num_items_in_batch=counted)
    assert found.logits is None and torch.allclose(found.loss, expected, atol=1e-6)
    for (name, one), (_, other) in zip(plain.named_parameters(), tiled.named_parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6), name


def test_without_labels_and_on_disk_nothing_is_different(plain, tmp_path):
    tokens = torch.randint(50, (2, 12))
    expected = plain(input_ids=tokens).logits
    score_in_tiles(plain)
    assert torch.equal(plain(input_ids=tokens).logits, expected)
    plain.save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(input_ids=tokens).logits, expected)
