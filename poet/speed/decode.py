"""Prompts -> what the model writes after them, token by token: `generate`'s sampling, made to pay in batches on a CPU.

Knows `generate`'s parts, to which it is handed as `custom_generate`; knows nothing of titles, poems or tokenizers. What it
does otherwise than `generate`: a row that has ended leaves the batch, keys and values are never copied to make room for
the next ones, a batch is drawn with one random number a row in place of one a character of the vocabulary, GPT-2's step for
one more token is computed by its layers alone, and in a large batch with products in bfloat16 where these are fast, keys and
values too where attention can be compiled. One row is drawn as `generate` draws it, so that the same seed gives the same poem as
`pipeline`.
"""

import copy
import functools
import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    GenerationConfig,
    GPT2LMHeadModel,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
    SuppressTokensLogitsProcessor,
)
from transformers.cache_utils import Cache, DynamicLayer
from transformers.generation import BaseStreamer
from transformers.pytorch_utils import Conv1D

from poet import device
from poet.speed import hardware

_FEW = 8  # rows; fewer are multiplied faster by a weight that lies the other way round
_LARGE = 16  # rows; below that products take little of the time
_MANY = 200  # rows that take longer to write than compiled attention to load, a second or two


def sample_loop(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    streamer: BaseStreamer | None = None,
    **model_kwargs,
) -> Tensor:
    """(batch, prompt) -> (batch, prompt and what was written), rows that ended earlier filled with the pad token."""
    attention_mask = model_kwargs.get("attention_mask")
    if attention_mask is None:  # as `generate` leaves it where nothing is padded
        attention_mask = torch.ones_like(input_ids)
    plain = _is_plain(model)
    attend: Callable[..., Tensor] = F.scaled_dot_product_attention
    bf16_model, score, kept_in = model, model.get_output_embeddings(), None
    on_cpu = model.device.type == "cpu"
    if plain and len(input_ids) >= _LARGE and device.has_fast_bfloat16():
        bf16_model = _in_bfloat16(model)
        score = bf16_model.lm_head
        if len(input_ids) >= _MANY and on_cpu and device.has_compiler():
            hardware.keep_memory()
            attend, kept_in = _attend, torch.bfloat16
    elif plain and len(input_ids) < _FEW and on_cpu:
        weight = model.lm_head.weight.T.contiguous()  # (width, vocabulary)
        score = functools.partial(torch.matmul, other=weight)
    weights = _Weights(bf16_model, score) if plain else None
    longest = generation_config.max_length
    room = [PreallocatedLayer(longest, kept_in) for _ in range(model.config.num_hidden_layers)]
    # transformers 5.24 calls it `cache`, earlier ones `past_key_values`
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    cache = {name: Cache(layers=room)}
    rows = torch.arange(len(input_ids), device=input_ids.device)  # those still being written
    written = input_ids.new_full((len(rows), longest), generation_config.pad_token_id)
    new, positions = input_ids, (attention_mask.cumsum(1) - 1).clamp(min=0)
    processors = [_once(each, model) for each in logits_processor]
    while len(rows):
        # A model in training casts by itself to bfloat16, which its layers alone do not.
        if weights and (
            bf16_model is not model or new is not input_ids and room[0].computed_in == model.dtype
        ):
            logits = _gpt2_step(weights, new, positions, attention_mask, room, attend)
        else:
            inputs = {"attention_mask": attention_mask, "position_ids": positions, **cache}
            logits = model(new, use_cache=True, logits_to_keep=1, **inputs).logits[:, -1]
        scores = logits.float()  # (rows, vocabulary)
        for processor in processors:
            scores = processor(input_ids, scores)
        new = _choose(scores, generation_config.do_sample)
        input_ids = torch.cat([input_ids, new], dim=1)
        attention_mask, positions = F.pad(attention_mask, (0, 1), value=1), positions[:, -1:] + 1
        if streamer is not None:
            streamer.put(new.flatten().cpu())
        length = input_ids.shape[1]
        ended = stopping_criteria(input_ids, None)
        if ended.any():
            written[rows[ended], :length] = input_ids[ended]
            going_on = _close_gaps(ended)
            rows, new, input_ids, attention_mask, positions = (
                each[going_on] for each in (rows, new, input_ids, attention_mask, positions)
            )
            for layer in room:
                layer.batch_select_indices(going_on)
    if streamer is not None:
        streamer.end()
    return written[:, :length]


def _is_plain(model: PreTrainedModel) -> bool:
    """Whether it is a GPT-2 that computes with nothing but its weights, and not with an adapter beside them."""
    if not isinstance(model, GPT2LMHeadModel) or model.config.scale_attn_by_inverse_layer_idx:
        return False
    body = model.transformer
    kinds = {
        body.wte: nn.Embedding,
        body.wpe: nn.Embedding,
        body.ln_f: nn.LayerNorm,
        model.lm_head: nn.Linear,
    }
    for h in body.h:
        kinds |= {h.ln_1: nn.LayerNorm, h.ln_2: nn.LayerNorm}
        kinds |= dict.fromkeys((h.attn.c_attn, h.attn.c_proj, h.mlp.c_fc, h.mlp.c_proj), Conv1D)
    return all(type(layer) is kind for layer, kind in kinds.items())


def _once(processor: LogitsProcessor, model: PreTrainedModel) -> Callable[[Tensor, Tensor], Tensor]:
    """The same; the ban of certain tokens looks for them among the vocabulary once, and not for each token of a poem."""
    if not isinstance(processor, SuppressTokensLogitsProcessor):
        return processor
    banned = processor(
        torch.empty(0), torch.zeros(1, model.config.vocab_size, device=model.device)
    )  # 0 or -inf
    return lambda input_ids, scores: scores + banned


def _in_bfloat16(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """A copy with the weights of its products in bfloat16; what is between them stays as it is."""
    bf16_model = copy.deepcopy(model)
    for layer in bf16_model.modules():
        if isinstance(layer, (Conv1D, nn.Linear)):
            layer.to(torch.bfloat16)
    return bf16_model


class _Weights:
    """What a GPT-2 computes with, looked up once for all tokens of a poem."""

    def __init__(self, model: GPT2LMHeadModel, score: Callable[[Tensor], Tensor]):
        body = model.transformer
        self.tokens, self.positions = body.wte.weight, body.wpe.weight
        self.layers = [
            (
                _norm(block.ln_1),
                (block.attn.c_attn.weight, block.attn.c_attn.bias),
                (block.attn.c_proj.weight, block.attn.c_proj.bias),
                _norm(block.ln_2),
                (block.mlp.c_fc.weight, block.mlp.c_fc.bias),
                (block.mlp.c_proj.weight, block.mlp.c_proj.bias),
            )
            for block in body.h
        ]
        self.last_norm, self.score = _norm(body.ln_f), score
        self.heads, self.activation = model.config.n_head, body.h[0].mlp.act
        self.dtype = model.lm_head.weight.dtype


def _norm(layer: nn.LayerNorm) -> tuple:
    return layer.normalized_shape, layer.weight, layer.bias, layer.eps


def _gpt2_step(
    weights: _Weights,
    new: Tensor,
    positions: Tensor,
    attention_mask: Tensor,
    room: list["PreallocatedLayer"],
    attend: Callable[..., Tensor],
) -> Tensor:
    """New tokens of each row (rows, new) -> the scores of what follows them (rows, vocabulary), as `model` computes them.

    With so small a model most of the time of a step is what transformers, and each call of a module, does around its products.
    """
    mask = _visible(attention_mask, new.shape[1])
    hidden = F.embedding(new, weights.tokens) + F.embedding(
        positions, weights.positions
    )  # (rows, new, width)
    shape, dtype = hidden.shape, weights.dtype
    hidden = hidden.view(-1, shape[-1])
    for (norm_1, qkv, out, norm_2, up, down), layer in zip(weights.layers, room, strict=True):
        x = F.layer_norm(hidden, *norm_1).to(dtype)
        parts = torch.addmm(qkv[1], x, qkv[0]).view(*shape[:2], 3, weights.heads, -1)
        query, key, value = parts.to(hidden.dtype).permute(
            2, 0, 3, 1, 4
        )  # (rows, heads, new, width of a head) each
        seen = attend(query, *layer.update(key, value), attn_mask=mask).transpose(1, 2)
        hidden = hidden + torch.addmm(out[1], seen.reshape(hidden.shape).to(dtype), out[0])
        x = weights.activation(torch.addmm(up[1], F.layer_norm(hidden, *norm_2).to(dtype), up[0]))
        hidden = hidden + torch.addmm(down[1], x, down[0])
    last = hidden.view(shape)[:, -1]
    return weights.score(F.layer_norm(last, *weights.last_norm).to(dtype))


def _visible(attention_mask: Tensor, new: int) -> Tensor | None:
    """(rows, tokens), 0 for padding -> (rows, 1, new, tokens), what the last `new` tokens attend to; None where that is all."""
    mask = attention_mask.bool()[:, None, None]
    if new == 1:
        return None if mask.all() else mask
    # Padding sees itself: of what sees nothing the softmax is no number.
    own = torch.eye(new, attention_mask.shape[1], dtype=torch.bool, device=mask.device)
    return mask & torch.ones_like(own).tril() | own


def _attend(query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None) -> Tensor:
    """Attention of one token a row to keys and values in bfloat16, in one pass over them; they are most of what a step reads.

    torch's own kernel turns all of them into float32 first. A prompt is left to it: its keys and values are in float32 still.
    """
    if query.shape[2] > 1:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask)
    if len(query) < _LARGE:
        return _attention(query, keys, values, attn_mask)
    return _compiled_attention()(query, keys, values, attn_mask)


def _attention(query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None) -> Tensor:
    """(rows, heads, 1, width), (rows, heads, tokens, width) twice, (rows, 1, 1, tokens) -> (rows, heads, 1, width)."""
    scores = (keys.float() * query).sum(-1, keepdim=True) * query.shape[
        -1
    ] ** -0.5  # (rows, heads, tokens, 1)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask.transpose(-1, -2), -torch.inf)
    return (scores.softmax(-2) * values.float()).sum(-2, keepdim=True)


@functools.cache
def _compiled_attention() -> Callable[..., Tensor]:
    return torch.compile(_attention, dynamic=True)


def _choose(scores: Tensor, sample: bool) -> Tensor:
    """Scores of the vocabulary (rows, vocabulary) -> a token of each row (rows, 1)."""
    if not sample:
        return scores.argmax(-1, keepdim=True)
    probabilities = scores.softmax(-1)
    if len(scores) == 1:
        return torch.multinomial(probabilities, 1)
    # The inverse of the distribution function: the first token up to which probabilities sum to a number in (0, 1].
    sums = probabilities.cumsum(-1)
    numbers = (1 - torch.rand(len(scores), 1, device=scores.device)) * sums[:, -1:]
    return torch.searchsorted(sums, numbers)


def _close_gaps(ended: Tensor) -> Tensor:
    """Which rows go on, (rows,) -> (those left,): each in its place, but that the last ones fill the gaps of what has ended."""
    count = len(ended) - int(ended.sum())
    order = torch.arange(count, device=ended.device)
    order[ended[:count]] = count + (~ended[count:]).nonzero().flatten()
    return order


class PreallocatedLayer(DynamicLayer):
    """One layer's keys and values (rows, heads, tokens, width of a head) in buffers that are as long as they may get.

    Args:
        kept_in: their type, if it is not that in which they are computed.
    """

    def __init__(self, longest: int, kept_in: torch.dtype | None = None):
        super().__init__()
        self.longest, self.kept_in = longest, kept_in

    def update(
        self, key_states: Tensor, value_states: Tensor, *args, **kwargs
    ) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.computed_in = key_states.dtype
            shape = (*key_states.shape[:2], self.longest, key_states.shape[-1])
            self._all_keys, self._all_values = (
                states.new_empty(shape, dtype=self.kept_in) for states in (key_states, value_states)
            )
        end = start + key_states.shape[-2]
        self._all_keys[:, :, start:end] = key_states
        self._all_values[:, :, start:end] = value_states
        self.keys, self.values = self._all_keys[:, :, :end], self._all_values[:, :, :end]
        return (self.keys, self.values) if start else (key_states, value_states)

    def batch_select_indices(self, indices: Tensor) -> None:
        count, end = len(indices), self.get_seq_length()
        moved = (
            (indices != torch.arange(count, device=indices.device)).nonzero().flatten()
        )  # the others are in place
        self._all_keys[moved, :, :end] = self.keys[indices[moved]]
        self._all_values[moved, :, :end] = self.values[indices[moved]]
        self._all_keys, self._all_values = self._all_keys[:count], self._all_values[:count]
        self.keys, self.values = self._all_keys[:, :, :end], self._all_values[:, :, :end]
