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


def test_a_loaded_state_goes_on_bit_for_bit():
    torch.manual_seed(0)
    size = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    model = GPT2LMHeadModel(GPT2Config(**size, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
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
