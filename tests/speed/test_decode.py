"""Writing in batches gives what `generate` gives, and draws each token as often as the model says."""

import copy
import inspect

import pytest
import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, LogitsProcessor, LogitsProcessorList, set_seed
from transformers.cache_utils import Cache

from poet import device
from poet.speed.decode import (
    PreallocatedLayer,
    _attend,
    _choose,
    _close_gaps,
    _gpt2_step,
    _in_bfloat16,
    _Weights,
    sample_loop,
)

PAD, END = 0, 1


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
        model.transformer.wte.weight.mul_(20)  # decided enough that rounding never turns a choice
    return model


class EndsByItself(LogitsProcessor):
    """Ends each row after as many tokens as its first token's number says: no two of them together."""

    def __init__(self, prompt: int):
        self.prompt = prompt

    def __call__(self, input_ids, scores):
        first = input_ids[torch.arange(len(input_ids)), input_ids.ne(PAD).long().argmax(1)]
        over = input_ids.shape[1] - self.prompt >= first
        scores = scores.clone()
        scores[:, [PAD, END]] = -torch.inf
        scores[over, END] = torch.inf
        return scores


def prompts() -> dict[str, torch.Tensor]:
    rows = [[5, 9, 8], [12, 4], [3, 7, 7, 6, 20], [25], [8, 2]]
    width = max(map(len, rows))
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in rows])
    return {"input_ids": ids, "attention_mask": ids.ne(PAD).long()}


def test_rows_that_end_at_different_times_are_those_of_generate(model):
    batch = prompts()
    ends = LogitsProcessorList([EndsByItself(batch["input_ids"].shape[1])])
    settings = {"do_sample": False, "max_length": 30, "logits_processor": ends}
    expected = model.generate(**batch, **settings)
    found = model.generate(**batch, **settings, custom_generate=sample_loop)
    assert torch.equal(found, expected)
    assert found.shape == (5, 30) and (found == END).any(1).tolist() == [
        True,
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_one_row_alone_is_drawn_as_generate_draws_it(model, seed):
    batch = {name: rows[:1] for name, rows in prompts().items()}
    settings = {
        "do_sample": True,
        "max_length": 30,
        "temperature": 3.0,
        "suppress_tokens": [3, 11, 29],
    }
    written = []
    for way in ({}, {"custom_generate": sample_loop}):
        torch.manual_seed(seed)
        written.append(model.generate(**batch, **settings, **way))
    assert torch.equal(*written)
    assert not torch.isin(
        written[0][:, batch["input_ids"].shape[1] :], torch.tensor([3, 11, 29])
    ).any()


@pytest.mark.parametrize("layer", ["c_fc", "wte"])
def test_an_adapter_that_is_not_merged_writes_too(model, layer):
    from peft import LoraConfig, inject_adapter_in_model

    batch, settings = prompts(), {"do_sample": False, "max_length": 20}
    without = model.generate(**batch, **settings, custom_generate=sample_loop)
    adapted = inject_adapter_in_model(
        LoraConfig(target_modules=[layer], fan_in_fan_out=layer == "c_fc"), copy.deepcopy(model)
    )
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name or "lora_embedding_A" in name:
                weight.copy_(
                    torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * 3
                )
    found = adapted.generate(**batch, **settings, custom_generate=sample_loop)
    assert torch.equal(found, adapted.generate(**batch, **settings)) and not torch.equal(
        found, without
    )


def test_a_batch_draws_tokens_as_often_as_their_probabilities_say():
    torch.manual_seed(0)
    probabilities = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.15, 0.05, 0.0])
    drawn = _choose(probabilities.log().expand(200_000, -1), sample=True)
    shares = drawn.flatten().bincount(minlength=7) / 200_000
    assert torch.allclose(shares, probabilities, atol=0.005)  # four standard deviations
    assert shares[probabilities == 0].sum() == 0


def test_a_large_batch_is_scored_as_the_model_scores_it(model):
    batch = prompts()
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    room = [PreallocatedLayer(30) for _ in range(2)]
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    with torch.no_grad():
        model(**batch, position_ids=positions, use_cache=True, **{name: Cache(layers=room)})
        new, mask = (
            torch.tensor([[4], [9], [17], [22], [6]]),
            torch.nn.functional.pad(batch["attention_mask"], (0, 1), value=1),
        )
        own, bf16_model = (
            _gpt2_step(
                _Weights(each, each.lm_head),
                new,
                positions[:, -1:] + 1,
                mask,
                copy.deepcopy(room),
                F.scaled_dot_product_attention,
            )
            for each in (model, _in_bfloat16(model))
        )
        whole = model(
            input_ids=torch.cat([batch["input_ids"], new], 1),
            attention_mask=mask,
            position_ids=torch.cat([positions, positions[:, -1:] + 1], 1),
        ).logits[:, -1]
    assert torch.allclose(own, whole, atol=1e-4)
    assert bf16_model.dtype == torch.bfloat16 and torch.allclose(
        bf16_model.float(), own, atol=0.02 * own.abs().max().item()
    )
    assert {weight.dtype for weight in model.parameters()} == {
        torch.float32
    }  # a copy was changed, not the model


@pytest.mark.parametrize("rows", [3, 24])  # few are not worth compiled code
@pytest.mark.parametrize("padded", [False, True])
def test_attention_to_keys_and_values_in_bfloat16_is_attention(rows, padded):
    torch.manual_seed(0)
    room = PreallocatedLayer(12, kept_in=torch.bfloat16)
    keys, values = torch.randn(2, rows, 4, 7, 16)
    given = room.update(keys, values)
    assert (
        given[0] is keys and given[1] is values
    )  # the first step sees what it has computed itself
    query, key, value = torch.randn(3, rows, 4, 1, 16)
    kept = room.update(key, value)
    assert {each.dtype for each in kept} == {torch.bfloat16} and kept[0].shape == (rows, 4, 8, 16)
    mask = torch.ones(rows, 1, 1, 8, dtype=torch.bool)
    mask[::2, ..., :3] = False
    with torch.no_grad():
        found = _attend(query, *kept, attn_mask=mask if padded else None)
        own = F.scaled_dot_product_attention(
            query, *map(torch.Tensor.float, kept), attn_mask=mask if padded else None
        )
        whole = [torch.cat(parts, 2) for parts in ((keys, key), (values, value))]
        exact = F.scaled_dot_product_attention(query, *whole, attn_mask=mask if padded else None)
    assert found.dtype == torch.float32 and torch.allclose(found, own, atol=1e-5)
    assert 0 < (found - exact).abs().max() < 0.02


def test_a_batch_large_enough_for_compiled_attention_writes_to_its_end(model, monkeypatch):
    monkeypatch.setattr(
        device, "has_fast_bfloat16", lambda: True
    )  # elsewhere the same, only slower
    batch = {name: rows.repeat(41, 1) for name, rows in prompts().items()}
    ends = LogitsProcessorList([EndsByItself(batch["input_ids"].shape[1])])
    settings = {"do_sample": False, "max_length": 30, "logits_processor": ends}
    found = model.generate(**batch, **settings, custom_generate=sample_loop)
    expected = model.generate(**batch, **settings)
    assert found.shape == expected.shape == (205, 30)
    assert torch.equal(found == END, expected == END)  # rounding may turn a choice, and no end
    assert (found == expected).float().mean() > 0.9


def test_the_last_rows_fill_the_gaps_of_those_that_have_ended():
    ended = torch.tensor([False, True, False, True, False, True, False, False])
    assert _close_gaps(ended).tolist() == [0, 6, 2, 7, 4]
    assert _close_gaps(torch.tensor([True, True])).tolist() == [] and _close_gaps(
        torch.tensor([False])
    ).tolist() == [0]
    room = PreallocatedLayer(9)
    keys, values = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 2, 3, 4), torch.randn(8, 2, 3, 4)
    room.update(keys, values)
    room.batch_select_indices(_close_gaps(ended))
    assert room.keys[:, 0, 0, 0].tolist() == [0, 6, 2, 7, 4] and torch.equal(
        room.values, values[[0, 6, 2, 7, 4]]
    )
