"""The loss alone has the model's own values and gradients, and labels scored in one those of trl's tiles."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, set_seed

from poet import device
from poet.speed.scoring import (
    WholeLogProb,
    _add_product,
    patch_forward_to_return_loss,
    patch_trl_scoring,
)


@pytest.fixture
def plain() -> GPT2LMHeadModel:
    set_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=12, n_embd=16, n_layer=1, n_head=2)
    )
    model.loss_type = "ForCausalLM"
    return model.eval()  # dropout would draw for each apart


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("counted", [None, 100])
@pytest.mark.parametrize("in_tiles", [False, True])
def test_the_loss_and_the_gradients_are_those_of_the_model_itself(plain, tie, counted, in_tiles):
    if not tie:
        plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.detach() + 0.1)
    bf16_model = copy.deepcopy(plain)
    patch_forward_to_return_loss(
        bf16_model, in_tiles, tokens_per_tile=7
    )  # of 36 positions: the last tile is a short one
    tokens = torch.randint(50, (3, 12))
    labels = tokens.clone()
    labels[0, :5] = -100  # a prompt
    for model in (plain, bf16_model):
        model(input_ids=tokens, labels=labels, num_items_in_batch=counted).loss.backward()
    expected = plain(input_ids=tokens, labels=labels, num_items_in_batch=counted).loss
    found = bf16_model(input_ids=tokens, labels=labels, num_items_in_batch=counted)
    assert found.logits is None and torch.allclose(found.loss, expected, atol=1e-6)
    for (name, one), (_, other) in zip(
        plain.named_parameters(), bf16_model.named_parameters(), strict=True
    ):
        assert torch.allclose(one.grad, other.grad, atol=1e-6), name


def test_without_labels_and_on_disk_nothing_is_different(plain, tmp_path):
    tokens = torch.randint(50, (2, 12))
    expected = plain(input_ids=tokens).logits
    patch_forward_to_return_loss(plain)
    assert torch.equal(plain(input_ids=tokens).logits, expected)
    plain.save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(input_ids=tokens).logits, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_products_of_tiles_are_added_up_in_float32(dtype):
    torch.manual_seed(0)
    total, tiles = (
        torch.ones(6, 5),
        [(torch.randn(6, 8).to(dtype), torch.randn(8, 5).to(dtype)) for _ in range(9)],
    )
    expected = total + sum(a.double() @ b.double() for a, b in tiles)
    for a, b in tiles:
        _add_product(total, a, b)
    assert total.dtype == torch.float32
    assert torch.allclose(total.double(), expected, atol=1e-5 if dtype == torch.float32 else 0.1)


@pytest.fixture
def function(monkeypatch):
    """What trl scores with by now; all that is changed is put back at the end."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    names = [(chunked_logprob, name) for name in ("_addmm_fp32", "TOKEN_CHUNK_SIZE")]
    for module, name in [(utils, "_use_triton"), (utils, "_ChunkedLogProbFunction"), *names]:
        monkeypatch.setattr(module, name, getattr(module, name))
    return lambda: utils._ChunkedLogProbFunction


TUNING = ("log_probs", "entropy", "is_top1")


def score(
    function, tokens: int, asked: tuple[str, ...] = TUNING, temperature: float = 1.0
) -> list[torch.Tensor]:
    """Values and gradients; of 50 characters the first and two others are alike and the likeliest of every other token."""
    torch.manual_seed(tokens)
    hidden, weight = torch.randn(tokens, 8), torch.randn(50, 8)
    weight[0] = weight[7] = weight[8] = 2.0
    hidden[::2] = weight[0]
    targets = torch.randint(10, (tokens,))
    targets[::4], targets[2::4] = 0, 7  # of the alike ones the first counts
    hidden.requires_grad_(), weight.requires_grad_()
    found = function.apply(hidden, weight, None, targets, temperature, 50, None, 1.0, asked)
    (found[0] * torch.linspace(0.5, 1, tokens)).sum().backward()
    return [*found, hidden.grad, weight.grad]


@pytest.mark.skipif(not device.has_compiler(), reason="without a compiler trl scores in its tiles")
def test_labels_scored_in_one_have_the_values_and_gradients_of_trls_tiles_and_compile_once(
    function, monkeypatch
):
    from torch._dynamo.utils import counters

    aligning = ("log_probs", "entropy", "is_top1", "mean_logits")
    asked = [
        (12,),
        (33,),
        (9, ("log_probs",)),
        (20, aligning),
        (5, TUNING, 0.8),
        (6, ("log_sum_sq_probs",)),
        (1,),
        (0,),
    ]
    expected = [score(function(), *each) for each in asked]
    assert {True, False} == set(expected[1][4].tolist())
    patch_trl_scoring(compiled=True)
    assert isinstance(function(), WholeLogProb)
    found = [score(function(), *each) for each in asked]
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a is None and b is None) or torch.allclose(a.float(), b.float(), atol=1e-5)
    assert found[0][1].requires_grad is False  # of the entropy, which is told alone
    graphs = counters["stats"]["unique_graphs"]
    for tokens in (10, 31, 64):
        score(function(), tokens)
    assert counters["stats"]["unique_graphs"] == graphs > 0
    monkeypatch.setattr(WholeLogProb, "LARGEST", 50 * 20)
    assert score(function(), 21)[1].requires_grad  # more than are held at once: in tiles
    patch_trl_scoring(compiled=False)
    assert not isinstance(function(), WholeLogProb)


@pytest.mark.skipif(not device.has_compiler(), reason="without a compiler trl scores in its tiles")
def test_in_bfloat16_and_without_gradients_labels_are_scored_in_one_as_in_tiles(function):
    in_tiles = function()
    patch_trl_scoring(compiled=True)
    torch.manual_seed(0)
    arguments = (
        torch.randn(30, 64),
        torch.randn(500, 64),
        None,
        torch.randint(500, (30,)),
        1.0,
        500,
        None,
        1.0,
        TUNING,
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, found = in_tiles.apply(*arguments), function().apply(*arguments)
    assert torch.allclose(expected[0], found[0], atol=1e-4) and torch.allclose(
        expected[1], found[1], atol=1e-4
    )
