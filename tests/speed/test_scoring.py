"""The faster losses have the values and gradients of transformers and trl."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, set_seed
from trl.kernels import ChunkedLogProbFunction, chunked_logprob
from trl.trainer import utils

from poet.speed import compile_cache
from poet.speed.scoring import (
    TOKENS_PER_TILE,
    WholeLogProb,
    patch_forward_to_return_loss,
    patch_trl_scoring,
    unpatch_trl_scoring,
)
from poet.speed.versions import CannotPatch

OUTPUTS = ("log_probs", "entropy", "is_top1")  # the ones that fine-tuning logs
needs_compiler = pytest.mark.skipif(not compile_cache.ready(), reason="there is no compiler")


@pytest.fixture(autouse=True)
def restore_trl():
    yield
    unpatch_trl_scoring()


@pytest.fixture
def model() -> GPT2LMHeadModel:
    set_seed(0)
    config = GPT2Config(vocab_size=50, n_positions=12, n_embd=16, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config)
    model.loss_type = "ForCausalLM"
    return model.eval()  # without dropout, two passes are equal


def prompt_and_poem() -> dict[str, torch.Tensor]:
    """Returns rows of which one begins with a prompt, whose tokens have no label."""
    torch.manual_seed(0)
    tokens = torch.randint(50, (3, 12))
    labels = tokens.clone()
    labels[0, :5] = -100
    return {"input_ids": tokens, "labels": labels}


def assert_same_gradients(one: torch.nn.Module, other: torch.nn.Module, atol: float) -> None:
    pairs = zip(one.named_parameters(), other.named_parameters(), strict=True)
    for (name, first), (_, second) in pairs:
        assert torch.allclose(first.grad, second.grad, atol=atol), name


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("count", [None, 100])
@pytest.mark.parametrize("in_tiles", [False, True])
def test_a_model_that_returns_only_the_loss_has_the_same_loss_and_gradients(
    model, tie, count, in_tiles
):
    if in_tiles and not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip("this torch has no loss in tiles")
    if not tie:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 0.1)
    patched = copy.deepcopy(model)
    # There are 36 positions, so that the last tile of 7 is a short one.
    patch_forward_to_return_loss(patched, in_tiles, tokens_per_tile=7)
    batch = prompt_and_poem()
    expected, found = (each(**batch, num_items_in_batch=count) for each in (model, patched))
    assert found.logits is None and torch.allclose(found.loss, expected.loss, atol=1e-6)
    expected.loss.backward()
    found.loss.backward()
    assert_same_gradients(model, patched, atol=1e-6)


def test_without_labels_and_on_disk_nothing_changes(model, tmp_path):
    tokens = torch.randint(50, (2, 12))
    expected = model(input_ids=tokens).logits
    patch_forward_to_return_loss(model)
    assert torch.equal(model(input_ids=tokens).logits, expected)
    model.save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(input_ids=tokens).logits, expected)


def test_an_output_layer_with_a_bias_is_refused(model):
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(50))
    with pytest.raises(CannotPatch, match="bias"):
        patch_forward_to_return_loss(model)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_compiler)])
def test_trl_scores_only_labels_with_the_same_loss_and_gradients(model, compiled, monkeypatch):
    scored = []
    whole, tiled = WholeLogProb.apply, ChunkedLogProbFunction.forward

    def forward(ctx, hidden, *others):
        scored.append(len(hidden))
        return tiled(ctx, hidden, *others)

    def apply(self, hidden, *others):
        scored.append(len(hidden))
        return whole(self, hidden, *others)

    patched = copy.deepcopy(model)
    for each in (model, patched):
        utils.add_fused_lm_head(each, outputs=OUTPUTS)
    batch = prompt_and_poem()
    expected = model(**batch, fused_lm_head=True)
    patch_trl_scoring(compiled)
    monkeypatch.setattr(WholeLogProb, "apply", apply)
    monkeypatch.setattr(ChunkedLogProbFunction, "forward", staticmethod(forward))
    found = patched(**batch, fused_lm_head=True)
    assert scored == [33 - 4]  # 3 rows of 11 labels; 4 of them belong to the prompt
    for name in ("loss", "log_probs", "entropy"):
        assert torch.allclose(found[name], expected[name], atol=1e-5), name
    assert torch.equal(found.is_top1, expected.is_top1)
    expected.loss.backward()
    found.loss.backward()
    assert_same_gradients(model, patched, atol=1e-5)


def test_trl_is_restored_as_it_was():
    def state() -> tuple:
        functions = utils._use_triton, utils._ChunkedLogProbFunction
        return *functions, chunked_logprob.TOKEN_CHUNK_SIZE

    before = state()
    patch_trl_scoring(compiled=True)
    patch_trl_scoring(compiled=False)
    assert chunked_logprob.TOKEN_CHUNK_SIZE == TOKENS_PER_TILE and state() != before
    unpatch_trl_scoring()
    assert state() == before
    unpatch_trl_scoring()
    assert state() == before


def score(
    tokens: int, outputs: tuple[str, ...] = OUTPUTS, temperature: float = 1.0
) -> list[torch.Tensor]:
    """Returns the values and the gradients of the function that trl uses at the moment.

    Of 50 characters, three have the same weights. They are the likeliest for every other token.
    """
    torch.manual_seed(tokens)
    hidden, weight = torch.randn(tokens, 8), torch.randn(50, 8)
    weight[0] = weight[7] = weight[8] = 2.0
    hidden[::2] = weight[0]
    targets = torch.randint(10, (tokens,))
    targets[::4], targets[2::4] = 0, 7  # of three equal scores, the first one is the top
    hidden.requires_grad_(), weight.requires_grad_()
    found = utils._ChunkedLogProbFunction.apply(
        hidden, weight, None, targets, temperature, 50, None, 1.0, outputs
    )
    (found[0] * torch.linspace(0.5, 1, tokens)).sum().backward()
    return [*found, hidden.grad, weight.grad]


@needs_compiler
def test_compiled_scores_are_those_of_trl_for_every_output_and_size():
    calls = [
        (12,),
        (33,),
        (9, ("log_probs",)),
        (20, (*OUTPUTS, "mean_logits")),
        (5, OUTPUTS, 0.8),
        (6, ("log_sum_sq_probs",)),  # only trl's own function has it
        (1,),
        (0,),
    ]
    expected = [score(*call) for call in calls]
    assert set(expected[1][4].tolist()) == {True, False}
    patch_trl_scoring(compiled=True)
    for call, values in zip(calls, expected, strict=True):
        for one, other in zip(score(*call), values, strict=True):
            both_missing = one is None and other is None
            assert both_missing or torch.allclose(one.float(), other.float(), atol=1e-5)


@needs_compiler
def test_batches_of_other_sizes_are_not_compiled_again():
    from torch._dynamo.utils import counters

    patch_trl_scoring(compiled=True)
    for tokens in (12, 33):
        score(tokens)
    graphs = counters["stats"]["unique_graphs"]
    for tokens in (10, 31, 64):
        score(tokens)
    assert counters["stats"]["unique_graphs"] == graphs > 0


@needs_compiler
def test_more_scores_than_fit_are_left_to_trl(monkeypatch):
    patch_trl_scoring(compiled=True)
    monkeypatch.setattr(WholeLogProb, "LARGEST", 50 * 20)
    # Only in trl's own function has the entropy a gradient.
    assert not score(20)[1].requires_grad
    assert score(21)[1].requires_grad


def in_bfloat16(tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns log-probabilities, entropies and the gradient of the weights, under autocast."""
    torch.manual_seed(0)
    hidden = torch.randn(tokens, 64)
    weight = torch.randn(500, 64, requires_grad=True)
    targets = torch.randint(500, (tokens,))
    with torch.autocast("cpu", torch.bfloat16):
        found = utils._ChunkedLogProbFunction.apply(
            hidden, weight, None, targets, 1.0, 500, None, 1.0, OUTPUTS
        )
    found[0].sum().backward()
    return found[0].detach(), found[1].detach(), weight.grad


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=needs_compiler)])
def test_in_bfloat16_scores_and_gradients_are_those_of_trl(compiled):
    tokens = 3 * TOKENS_PER_TILE + 100
    expected = in_bfloat16(tokens)
    patch_trl_scoring(compiled)
    log_probs, entropies, gradient = in_bfloat16(tokens)
    assert torch.allclose(log_probs, expected[0], atol=1e-4)
    assert torch.allclose(entropies, expected[1], atol=1e-4)
    error = (gradient - expected[2]).norm() / expected[2].norm()
    assert error < 0.003  # one rounding to bfloat16 is 0.002 on average
