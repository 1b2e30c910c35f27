"""The sampling loop writes what `generate` writes, in batches of any size."""

import copy

import pytest
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessor, LogitsProcessorList, set_seed

from poet import device
from poet.speed import decode
from poet.speed.decode import sample_loop

PAD, END = 0, 1
PROMPTS = [[5, 9, 8], [12, 4], [3, 7, 7, 6, 20], [25], [8, 2]]


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    set_seed(0)
    config = GPT2Config(
        vocab_size=30,
        n_positions=40,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wte.weight.mul_(20)  # so decided that rounding changes no choice
    return model


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def bfloat16(request, monkeypatch) -> bool:
    """Whether the machine multiplies fast in bfloat16; products in it work on any machine."""
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: request.param)
    return request.param


class EndsAfter(LogitsProcessor):
    """Ends each row after as many tokens as the number of its first token."""

    def __init__(self, prompt: int):
        self.prompt = prompt

    def __call__(self, input_ids, scores):
        is_over = input_ids.shape[1] - self.prompt >= first_tokens(input_ids)
        scores = scores.clone()
        scores[:, [PAD, END]] = -torch.inf
        scores[is_over, END] = torch.inf
        return scores


class Dictate(LogitsProcessor):
    """Records the scores, then forces a token that depends on the row and the position."""

    def __init__(self):
        self.recorded: list[torch.Tensor] = []

    def __call__(self, input_ids, scores):
        self.recorded.append(scores.clone())
        token = 2 + (first_tokens(input_ids) * 7 + input_ids.shape[1] * 3) % 28
        return torch.zeros_like(scores).scatter(1, token[:, None], 100.0)


def first_tokens(input_ids: torch.Tensor) -> torch.Tensor:
    return input_ids[torch.arange(len(input_ids)), input_ids.ne(PAD).long().argmax(1)]


def prompts(rows: int = 5) -> dict[str, torch.Tensor]:
    """Returns left-padded prompts of different lengths."""
    repeated = [PROMPTS[i % 5] for i in range(rows)]
    width = max(map(len, repeated))
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in repeated])
    return {"input_ids": ids, "attention_mask": ids.ne(PAD).long()}


def end_after(batch: dict[str, torch.Tensor]) -> LogitsProcessorList:
    return LogitsProcessorList([EndsAfter(batch["input_ids"].shape[1])])


@pytest.mark.parametrize("rows", [5, 40])
def test_rows_that_end_at_different_times_are_those_of_generate(model, monkeypatch, rows):
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: False)
    batch = prompts(rows)
    settings = {"do_sample": False, "max_length": 30, "logits_processor": end_after(batch)}
    expected = model.generate(**batch, **settings)
    found = model.generate(**batch, **settings, custom_generate=sample_loop)
    assert torch.equal(found, expected)
    # The row that starts with 25 is cut by the limit of 30 tokens.
    assert (found == END).any(1).tolist() == [True, True, True, False, True] * (rows // 5)


@pytest.mark.parametrize("seed", range(5))
def test_a_single_row_takes_the_random_numbers_of_generate(model, seed):
    batch = {name: rows[:1] for name, rows in prompts().items()}
    banned = [3, 11, 29]
    settings = {"do_sample": True, "max_length": 30, "temperature": 3.0, "suppress_tokens": banned}
    texts = []
    for loop in ({}, {"custom_generate": sample_loop}):
        torch.manual_seed(seed)
        texts.append(model.generate(**batch, **settings, **loop))
    assert torch.equal(*texts)
    new = texts[0][:, batch["input_ids"].shape[1] :]
    assert not torch.isin(new, torch.tensor(banned)).any()


def test_a_batch_samples_tokens_as_often_as_the_model_says(model, monkeypatch):
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: False)
    rows, banned = 20_000, [3, 11, 29]
    batch = {name: values[:1] for name, values in prompts().items()}
    settings = {"do_sample": True, "max_new_tokens": 1, "temperature": 6.0}
    many = {name: values.repeat(rows, 1) for name, values in batch.items()}
    torch.manual_seed(0)
    found = model.generate(**many, **settings, suppress_tokens=banned, custom_generate=sample_loop)
    shares = found[:, -1].bincount(minlength=30) / rows
    with torch.no_grad():
        scores = model(**batch).logits[0, -1] / 6.0
    scores[banned] = -torch.inf
    expected = scores.softmax(-1)
    assert expected.max() < 0.9  # several tokens are likely
    assert torch.allclose(shares, expected, atol=0.015)  # four standard deviations
    assert shares[banned].sum() == 0


# 3 rows use a transposed weight, 205 rows compiled attention.
@pytest.mark.parametrize("rows", [1, 3, 10, 40, 205])
def test_scores_are_those_of_the_model_at_every_token(model, bfloat16, rows):
    batch, recorders = prompts(rows), (Dictate(), Dictate())
    settings = {"do_sample": False, "max_length": 30, "eos_token_id": None}
    expected, found = (
        model.generate(**batch, **settings, logits_processor=LogitsProcessorList([each]), **loop)
        for each, loop in zip(recorders, ({}, {"custom_generate": sample_loop}), strict=True)
    )
    assert torch.equal(found, expected)
    own, theirs = (torch.stack(recorder.recorded) for recorder in reversed(recorders))
    assert own.shape == theirs.shape and len(own) > 20
    largest = (own - theirs).abs().max()
    if bfloat16 and rows >= decode.BFLOAT16_FROM:
        assert 0 < largest < 0.03 * theirs.abs().max()
    else:
        assert largest < 1e-3
    # The model itself stays in float32.
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_a_batch_large_enough_for_compiled_attention_is_written_to_its_end(model, monkeypatch):
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: True)
    batch = prompts(205)
    settings = {"do_sample": False, "max_length": 30, "logits_processor": end_after(batch)}
    found = model.generate(**batch, **settings, custom_generate=sample_loop)
    expected = model.generate(**batch, **settings)
    assert found.shape == expected.shape == (205, 30)
    assert torch.equal(found == END, expected == END)  # rounding may change a token, not an end
    assert (found == expected).float().mean() > 0.9


@pytest.mark.parametrize("rows", [5, 40])
def test_a_model_that_casts_on_its_own_computes_every_token_itself(model, monkeypatch, rows):
    """A model that Trainer has prepared for bfloat16 casts in its `forward`."""
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: False)
    casting = copy.deepcopy(model)
    casting.forward = torch.autocast("cpu", torch.bfloat16)(casting.forward)
    recorders = (Dictate(), Dictate())
    for recorder, loop in zip(recorders, ({}, {"custom_generate": sample_loop}), strict=True):
        casting.generate(
            **prompts(rows),
            do_sample=False,
            max_length=30,
            eos_token_id=None,
            logits_processor=LogitsProcessorList([recorder]),
            **loop,
        )
    expected, found = (torch.stack(recorder.recorded) for recorder in recorders)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("layer", ["c_fc", "wte"])
def test_an_adapter_that_is_not_merged_writes_too(model, layer):
    from peft import LoraConfig, inject_adapter_in_model

    batch, settings = prompts(), {"do_sample": False, "max_length": 20}
    without = model.generate(**batch, **settings, custom_generate=sample_loop)
    config = LoraConfig(target_modules=[layer], fan_in_fan_out=layer == "c_fc")
    adapted = inject_adapter_in_model(config, copy.deepcopy(model))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name or "lora_embedding_A" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 3)
    found = adapted.generate(**batch, **settings, custom_generate=sample_loop)
    assert torch.equal(found, adapted.generate(**batch, **settings))
    assert not torch.equal(found, without)


def test_with_another_transformers_generate_keeps_its_own_loop(monkeypatch, caplog):
    decode.custom_generate.cache_clear()
    assert decode.custom_generate() is sample_loop
    monkeypatch.setattr(transformers, "__version__", "5.25.0")
    decode.custom_generate.cache_clear()
    assert decode.custom_generate() is None
    assert "transformers 5.25.0 is untested" in caplog.text
    decode.custom_generate.cache_clear()
