"""One call switches on every speed-up, and says which ones are really on."""

import pytest
import torch
import transformers
import trl
from transformers import GPT2Config, GPT2LMHeadModel, TrainingArguments
from trl import SFTConfig
from trl.trainer import utils

from poet import device
from poet.speed import compile_cache, hardware, scoring
from poet.speed.apply import apply_speedups
from poet.speed.gelu import GeluBySigmoid

TRL_STAGES = ("sft", "author", "dpo", "grpo", "distill")


@pytest.fixture(autouse=True)
def restore_trl():
    yield
    scoring.unpatch_trl_scoring()


@pytest.fixture
def model() -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=50,
        n_positions=12,
        n_embd=16,
        n_layer=1,
        n_head=2,
        activation_function="gelu_pytorch_tanh",
    )
    return GPT2LMHeadModel(config).eval()


def pretraining(tmp_path, **options) -> TrainingArguments:
    return TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", **options)


def tuning(tmp_path, **options) -> SFTConfig:
    settings = {"use_cpu": True, "bf16": False, "report_to": "none", **options}
    return SFTConfig(output_dir=str(tmp_path), **settings)


def test_pretraining_returns_only_the_loss_and_says_so(model, tmp_path):
    speedups = apply_speedups(model, pretraining(tmp_path), stage="pretrain")
    tokens = torch.zeros(1, 12, dtype=torch.long)
    assert model(input_ids=tokens, labels=tokens).logits is None
    assert any("loss without logits" in name for name in speedups.on)
    assert "loss without logits" in speedups.describe()
    assert not isinstance(model.transformer.h[0].mlp.act, GeluBySigmoid)  # only for compiled code


@pytest.mark.skipif(not compile_cache.ready(), reason="there is no compiler")
def test_compiled_pretraining_has_another_gelu(model, tmp_path):
    args = pretraining(tmp_path, torch_compile=True)
    speedups = apply_speedups(model, args, stage="pretrain")
    assert isinstance(model.transformer.h[0].mlp.act, GeluBySigmoid)
    assert {"torch.compile", "traced steps cached", "GELU by a sigmoid"} <= set(speedups.on)
    assert not speedups.off


@pytest.mark.parametrize("stage", TRL_STAGES)
def test_stages_of_trl_score_only_labels_and_say_so(model, tmp_path, stage):
    plain = utils._ChunkedLogProbFunction
    speedups = apply_speedups(model, tuning(tmp_path), stage=stage)
    assert utils._use_triton(torch.device("cpu")) and utils._ChunkedLogProbFunction is plain
    assert {"only labels scored", "scores in tiles of 512 tokens"} <= set(speedups.on)
    assert not speedups.off
    assert not speedups.compiles_scoring and speedups.compile(len) is len
    scoring.unpatch_trl_scoring()
    assert not utils._use_triton(torch.device("cpu"))


def test_attention_in_bfloat16_on_a_cpu_is_in_plain_products(model, tmp_path):
    for bf16 in (False, True):
        speedups = apply_speedups(model, tuning(tmp_path, bf16=bf16), stage="sft")
        assert ("attention in plain products" in speedups.on) is bf16
        assert (model.config._attn_implementation == "eager") is bf16


def test_without_a_compiler_nothing_is_called_compiled(model, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "has_compiler", lambda: False)
    args = pretraining(tmp_path, torch_compile=True)
    speedups = apply_speedups(model, args, stage="pretrain")
    assert args.torch_compile is False and "torch.compile" not in speedups.on
    assert "torch.compile (no working compiler" in speedups.off[0]
    speedups = apply_speedups(model, tuning(tmp_path), stage="dpo", compile_scoring=True)
    assert not speedups.compiles_scoring and not any("compiled" in name for name in speedups.on)
    assert "compiled scores (no working compiler" in speedups.off[0]


@pytest.mark.parametrize("version", ["1.15.2", "1.17.0", "2.0.0.dev0"])
def test_another_trl_stays_as_it_is_and_a_line_says_why(model, tmp_path, monkeypatch, version):
    plain = utils._ChunkedLogProbFunction
    monkeypatch.setattr(trl, "__version__", version)
    speedups = apply_speedups(model, tuning(tmp_path), stage="sft", compile_scoring=True)
    assert utils._ChunkedLogProbFunction is plain
    assert not utils._use_triton(torch.device("cpu")) and not speedups.compiles_scoring
    assert not any("score" in name for name in speedups.on)
    assert f"trl {version} is not tested, only >=1.16,<1.17 is" in speedups.describe()


def test_another_transformers_stays_as_it_is_and_a_line_says_why(model, tmp_path, monkeypatch):
    monkeypatch.setattr(transformers, "__version__", "5.25.0")
    args = pretraining(tmp_path, torch_compile=True)
    speedups = apply_speedups(model, args, stage="pretrain")
    tokens = torch.zeros(1, 12, dtype=torch.long)
    assert model(input_ids=tokens, labels=tokens).logits is not None
    assert not isinstance(model.transformer.h[0].mlp.act, GeluBySigmoid)
    assert not any("loss" in name or "GELU" in name for name in speedups.on)
    assert "transformers 5.25.0 is not tested" in speedups.describe()


def test_a_torch_without_a_loss_in_tiles_still_returns_only_the_loss(model, tmp_path, monkeypatch):
    monkeypatch.delattr(torch.nn.functional, "linear_cross_entropy", raising=False)
    speedups = apply_speedups(model, pretraining(tmp_path), stage="pretrain")
    assert "loss without logits" in speedups.on
    assert "has no linear_cross_entropy" in speedups.describe()


def test_a_trl_with_other_names_or_arguments_stays_as_it_is(model, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.delattr(utils, "_use_triton")
        speedups = apply_speedups(model, tuning(tmp_path), stage="sft")
        assert "has no _use_triton" in speedups.describe()

    class Other:
        @staticmethod
        def forward(ctx, hidden, weight):
            pass

    monkeypatch.setattr(utils, "_ChunkedLogProbFunction", Other)
    speedups = apply_speedups(model, tuning(tmp_path), stage="sft")
    assert utils._ChunkedLogProbFunction is Other
    assert "takes other arguments: ctx, hidden, weight" in speedups.describe()


def test_a_second_call_changes_nothing(model, tmp_path):
    tokens = torch.randint(50, (2, 12))
    args = pretraining(tmp_path)
    first = apply_speedups(model, args, stage="pretrain")
    loss = model(input_ids=tokens, labels=tokens).loss
    assert apply_speedups(model, args, stage="pretrain") == first
    assert torch.equal(model(input_ids=tokens, labels=tokens).loss, loss)
    assert not hasattr(model.forward.unpatched, "unpatched")  # one layer, not two
    plain = utils._ChunkedLogProbFunction
    compiled = compile_cache.ready()
    for wanted in (True, True, False):
        tuned = apply_speedups(model, tuning(tmp_path), stage="sft", compile_scoring=wanted)
        assert tuned.compiles_scoring == (wanted and compiled)
    assert utils._ChunkedLogProbFunction is plain


def test_options_that_need_other_values_are_not_compiled(model, tmp_path):
    args = tuning(tmp_path)
    args.entropy_coef = 0.1
    speedups = apply_speedups(model, args, stage="grpo", compile_scoring=True)
    assert not speedups.compiles_scoring and "the loss contains the entropy" in speedups.describe()


@pytest.fixture
def any_order():
    yield
    torch.use_deterministic_algorithms(False)
    torch._dynamo.reset()


@pytest.mark.skipif(not compile_cache.ready(), reason="there is no compiler")
@pytest.mark.skipif(torch.get_num_threads() < 2, reason="one thread has one order")
def test_compiled_gradients_of_an_embedding_are_the_same_each_time(any_order):
    def gradient(step) -> torch.Tensor:
        weight.grad = None
        step(weight, ids, noise).backward()
        return weight.grad.clone()

    def step(weight, ids, noise):
        return (torch.nn.functional.embedding(ids, weight) * noise).sum()

    weight = torch.ones(5, 64, requires_grad=True)
    ids, noise = torch.randint(5, (20_000,)), torch.randn(20_000, 64)
    hardware.add_in_one_order()
    compiled = torch.compile(step)
    first = gradient(compiled)
    assert all(torch.equal(gradient(compiled), first) for _ in range(10))
