"""GELU by a sigmoid is the same function as GPT-2's."""

import copy

import torch
from transformers import GPT2Config, GPT2LMHeadModel, set_seed

from poet.speed.gelu import GeluBySigmoid, patch_gelu


def test_values_and_slopes_are_those_of_the_approximation_by_tanh():
    x = torch.linspace(-12, 12, 4801, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.gelu(x, approximate="tanh")
    (slopes,) = torch.autograd.grad(expected.sum(), x)
    found = GeluBySigmoid()(x)
    assert torch.allclose(found, expected, atol=1e-12)
    assert torch.allclose(torch.autograd.grad(found.sum(), x)[0], slopes, atol=1e-12)


def test_a_model_computes_the_same_with_it_and_is_saved_as_before(tmp_path):
    set_seed(0)
    config = GPT2Config(
        vocab_size=30,
        n_positions=8,
        n_embd=16,
        n_layer=2,
        n_head=2,
        activation_function="gelu_pytorch_tanh",
    )
    plain = GPT2LMHeadModel(config).eval()
    changed = copy.deepcopy(plain)
    patch_gelu(changed)
    tokens = torch.randint(30, (3, 8))
    expected = plain(tokens).logits
    assert torch.allclose(changed(tokens).logits, expected, atol=1e-5)
    assert not torch.equal(changed(tokens).logits, expected)  # it is in use
    changed.save_pretrained(tmp_path)
    assert torch.equal(GPT2LMHeadModel.from_pretrained(tmp_path).eval()(tokens).logits, expected)
