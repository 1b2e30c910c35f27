"""Muon orthogonalizes, and a resumed optimizer goes on bit for bit."""

import copy

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from poet.training.optimizer import MuonAdamW, orthogonalize


def test_singular_values_end_near_one():
    torch.manual_seed(0)
    for shape in ((2, 16, 48), (1, 48, 16)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.3 and values.max() < 1.3


def small_model() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    size = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    return GPT2LMHeadModel(GPT2Config(**size, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))


def test_embeddings_decay_as_in_adamw_and_vectors_do_not():
    model = small_model()
    one, other = copy.deepcopy(model), copy.deepcopy(model)
    weights = one.transformer.wte.weight, one.transformer.wpe.weight
    adamw = torch.optim.AdamW(weights, 3e-3, (0.9, 0.95), weight_decay=0.5)
    decayed = MuonAdamW(model, 3e-3, 0.02, (0.9, 0.95), 0.1, embedding_weight_decay=0.5)
    plain = MuonAdamW(other, 3e-3, 0.02, (0.9, 0.95), 0.1)
    for trained in (model, one, other):
        for p in trained.parameters():
            p.grad = p.detach().sin()
    for optimizer in (adamw, decayed, plain):
        optimizer.step()
    embeddings = model.transformer.wte.weight, model.transformer.wpe.weight
    for mine, torchs in zip(embeddings, weights, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-6, atol=1e-8)
    assert not torch.allclose(embeddings[0], other.transformer.wte.weight, atol=1e-5)
    for (name, p), (_, q) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(p, q) or name in ("transformer.wte.weight", "transformer.wpe.weight")


def test_a_loaded_state_goes_on_bit_for_bit():
    model = small_model()
    optimizer = MuonAdamW(model, 3e-3, 0.02, (0.9, 0.95), 0.1)
    x = torch.randint(50, (4, 16))

    def step(model, optimizer):
        model(x, labels=x).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step(model, optimizer)
    twin = copy.deepcopy(model)
    resumed = MuonAdamW(twin, 3e-3, 0.02, (0.9, 0.95), 0.1)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        step(model, optimizer)
        step(twin, resumed)
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)
