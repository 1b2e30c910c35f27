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
        for block in model.transformer.h:  # and what was read before counts
            block.attn.c_attn.weight.mul_(10)
            block.attn.c_proj.weight.mul_(100)
    return model


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def bfloat16(request, monkeypatch) -> bool:
    """Whether the machine multiplies fast in bfloat16; products in it work on any machine."""
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: request.param)
    return request.param


class Ends(LogitsProcessor):
    """Ends each row after as many tokens as the number of its first token."""

    def __init__(self, prompt: int):
        self.prompt = prompt

    def is_over(self, input_ids):
        return input_ids.shape[1] - self.prompt >= first_tokens(input_ids)

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        scores[:, [PAD, END]] = -torch.inf
        scores[self.is_over(input_ids), END] = torch.inf
        return scores


class Dictates(Ends):
    """Records the scores of each unfinished text, then forces its next token."""

    def __init__(self, prompt: int):
        super().__init__(prompt)
        self.recorded: dict[tuple[int, ...], torch.Tensor] = {}

    def __call__(self, input_ids, scores):
        for text, row in zip(input_ids.tolist(), scores, strict=True):
            if END not in text:
                self.recorded[tuple(text)] = row.clone()
        token = 2 + (first_tokens(input_ids) * 7 + input_ids.shape[1] * 3) % 28
        token[self.is_over(input_ids)] = END
        return torch.zeros_like(scores).scatter(1, token[:, None], 100.0)


def first_tokens(input_ids: torch.Tensor) -> torch.Tensor:
    return input_ids[torch.arange(len(input_ids)), input_ids.ne(PAD).long().argmax(1)]


def prompts(rows: int = 5) -> dict[str, torch.Tensor]:
    """Returns left-padded prompts of different lengths."""
    repeated = [PROMPTS[i % 5] for i in range(rows)]
    width = max(map(len, repeated))
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in repeated])
    return {"input_ids": ids, "attention_mask": ids.ne(PAD).long()}


def recorded_scores(model, rows: int, **loop) -> dict[tuple[int, ...], torch.Tensor]:
    """Returns the scores after each text, while a fixed text is forced on the model."""
    batch = prompts(rows)
    dictates = Dictates(batch["input_ids"].shape[1])
    processors = LogitsProcessorList([dictates])
    model.generate(**batch, do_sample=False, max_length=30, logits_processor=processors, **loop)
    return dictates.recorded


@pytest.mark.parametrize("rows", [5, 40])
def test_rows_that_end_at_different_times_are_those_of_generate(model, monkeypatch, rows):
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: False)
    batch = prompts(rows)
    ends = LogitsProcessorList([Ends(batch["input_ids"].shape[1])])
    settings = {"do_sample": False, "max_length": 30, "logits_processor": ends}
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
    expected = recorded_scores(model, rows)
    found = recorded_scores(model, rows, custom_generate=sample_loop)
    assert found.keys() == expected.keys() and len(found) > 5
    largest = max((found[text] - expected[text]).abs().max() for text in found)
    if bfloat16 and rows >= decode.BFLOAT16_FROM:
        assert 0 < largest < 0.05 * max(scores.abs().max() for scores in expected.values())
    else:
        assert largest < 1e-3
    # The model itself stays in float32.
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("rows", [5, 40])
def test_a_model_that_casts_on_its_own_computes_every_token_itself(model, monkeypatch, rows):
    """A model that Trainer has prepared for bfloat16 casts in its `forward`."""
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: False)
    casting = copy.deepcopy(model)
    casting.forward = torch.autocast("cpu", torch.bfloat16)(casting.forward)
    expected = recorded_scores(casting, rows)
    found = recorded_scores(casting, rows, custom_generate=sample_loop)
    exact = recorded_scores(model, rows)
    assert found.keys() == expected.keys()
    errors = [(found[text] - expected[text]).abs().max() for text in found]
    rounding = [(exact[text] - expected[text]).abs().max() for text in found]
    assert max(errors) < 0.1 * max(rounding)


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
    assert "transformers 5.25.0 is not tested" in caplog.text
    decode.custom_generate.cache_clear()
