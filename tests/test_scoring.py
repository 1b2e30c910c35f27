"""Returning the loss alone, of all tokens or of a tile at a time, gives the model's own losses and gradients."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, set_seed

from poet.scoring import _add_product, return_loss_alone, score_only_what_counts


@pytest.fixture
def plain() -> GPT2LMHeadModel:
    set_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=12, n_embd=16, n_layer=1, n_head=2))
    model.loss_type = "ForCausalLM"
    return model.eval()  # dropout would draw for each apart


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("counted", [None, 100])
@pytest.mark.parametrize("in_tiles", [False, True])
def test_the_loss_and_the_gradients_are_those_of_the_model_itself(plain, tie, counted, in_tiles):
    if not tie:
        plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.detach() + 0.1)
    lean = copy.deepcopy(plain)
    return_loss_alone(lean, in_tiles, tokens_a_tile=7)  # of 36 positions: the last tile is a short one
    tokens = torch.randint(50, (3, 12))
    labels = tokens.clone()
    labels[0, :5] = -100  # a prompt
    for model in (plain, lean):
        model(input_ids=tokens, labels=labels, num_items_in_batch=counted).loss.backward()
    expected = plain(input_ids=tokens, labels=labels, num_items_in_batch=counted).loss
    found = lean(input_ids=tokens, labels=labels, num_items_in_batch=counted)
    assert found.logits is None and torch.allclose(found.loss, expected, atol=1e-6)
    for (name, one), (_, other) in zip(plain.named_parameters(), lean.named_parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6), name


def test_without_labels_and_on_disk_nothing_is_different(plain, tmp_path):
    tokens = torch.randint(50, (2, 12))
    expected = plain(input_ids=tokens).logits
    return_loss_alone(plain)
    assert torch.equal(plain(input_ids=tokens).logits, expected)
    plain.save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(input_ids=tokens).logits, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_products_of_tiles_are_added_up_in_float32(dtype):
    torch.manual_seed(0)
    total, tiles = torch.ones(6, 5), [(torch.randn(6, 8).to(dtype), torch.randn(8, 5).to(dtype)) for _ in range(9)]
    expected = total + sum(a.double() @ b.double() for a, b in tiles)
    for a, b in tiles:
        _add_product(total, a, b)
    assert total.dtype == torch.float32
    assert torch.allclose(total.double(), expected, atol=1e-5 if dtype == torch.float32 else 0.1)


def test_scores_in_one_are_trls_own_and_compile_once(monkeypatch):
    from torch._dynamo.utils import counters
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    names = [(chunked_logprob, name) for name in ("_addmm_fp32", "TOKEN_CHUNK_SIZE")]
    for module, name in [(utils, "_use_triton"), (utils, "_ChunkedLogProbFunction"), *names]:
        monkeypatch.setattr(module, name, getattr(module, name))  # put back at the end

    def score(tokens: int, asked: tuple[str, ...], temperature: float = 1.0) -> list[torch.Tensor]:
        torch.manual_seed(tokens)
        hidden, weight = torch.randn(tokens, 8, requires_grad=True), torch.randn(50, 8)
        weight[7:9] = weight[0]  # of equal scores one counts as the likeliest
        found = utils._ChunkedLogProbFunction.apply(
            hidden, weight.requires_grad_(), None, torch.randint(10, (tokens,)), temperature, 50, None, 1.0, asked
        )
        (found[0] * torch.linspace(0.5, 1, tokens)).sum().backward()
        return [*found, hidden.grad, weight.grad]

    tuning, aligning = ("log_probs", "entropy", "is_top1"), ("log_probs", "entropy", "is_top1", "mean_logits")
    asked = [
        (12, tuning),
        (33, tuning),
        (9, ("log_probs",)),
        (20, aligning),
        (5, tuning, 0.8),
        (6, ("log_sum_sq_probs",)),
    ]
    expected = [score(*each) for each in asked]
    score_only_what_counts(compiled=True)
    found = [score(*each) for each in asked]
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a is None and b is None) or torch.allclose(a.float(), b.float(), atol=1e-5)
    graphs = counters["stats"]["unique_graphs"]
    for tokens in (10, 31, 64):
        score(tokens, tuning)
    assert counters["stats"]["unique_graphs"] == graphs
