"""Samples tokens as transformers' `generate` does, faster for batches on a CPU.

It knows the parts that `generate` hands to a `custom_generate` function. It does not know titles,
poems or tokenizers. It differs from `generate` in five ways:

1. A finished row leaves the batch.
2. Keys and values have a buffer of full length from the start, so they are never copied to grow.
3. A batch takes one random number per row. `generate` takes one per token of the vocabulary.
4. The next token of a plain GPT-2 is computed directly from its weights, without its modules.
5. A large batch multiplies in bfloat16 if the hardware has it. A very large one also stores keys
   and values in bfloat16, and reads them with compiled attention.

A single row, not a batch, takes the same random numbers as `generate`. So the same seed gives the
same poem.
"""

import copy
import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

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
from poet.speed import compile_cache, hardware
from poet.speed.versions import CannotPatch, check_names, check_version

# Numbers of rows in a batch:
TRANSPOSED_BELOW = 8  # below it, a transposed weight in the last layer is faster
BFLOAT16_FROM = 16  # below it, products take little of the time
COMPILED_FROM = 200  # below it, a batch ends before compiled attention is loaded (1 to 2 s)


@functools.cache
def custom_generate() -> Callable[..., Tensor] | None:
    """Returns `sample_loop`, or None and a warning for an untested version of transformers.

    With None, `generate` uses its own loop.
    """
    try:
        check_version("transformers")
        check_names(DynamicLayer, "lazy_initialization", "get_seq_length")
    except CannotPatch as reason:
        logging.getLogger(__name__).warning("poems are sampled more slowly: %s", reason)
        return None
    return sample_loop


def sample_loop(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    streamer: BaseStreamer | None = None,
    **model_kwargs: Any,
) -> Tensor:
    """Continues each row of `input_ids` until the stopping criteria end it.

    Returns the prompts and their continuations, (rows, tokens). Rows that ended early are filled
    with the pad token. `generate` calls it as `custom_generate=sample_loop`.
    """
    attention_mask = model_kwargs.get("attention_mask")
    if attention_mask is None:  # `generate` leaves it out if there is no padding
        attention_mask = torch.ones_like(input_ids)
    max_length = generation_config.max_length
    step = _Step(model, len(input_ids), max_length)
    rows = torch.arange(len(input_ids), device=input_ids.device)  # the unfinished ones
    finished = input_ids.new_full((len(rows), max_length), generation_config.pad_token_id)
    new, positions = input_ids, (attention_mask.cumsum(1) - 1).clamp(min=0)
    processors = [_computed_once(processor, model) for processor in logits_processor]
    while len(rows):
        scores = step(new, positions, attention_mask).float()  # (rows, vocabulary)
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
            finished[rows[ended], :length] = input_ids[ended]
            kept = _close_gaps(ended)
            rows, new, input_ids = rows[kept], new[kept], input_ids[kept]
            attention_mask, positions = attention_mask[kept], positions[kept]
            step.keep_rows(kept)
    if streamer is not None:
        streamer.end()
    return finished[:, :length]


def _computed_once(
    processor: LogitsProcessor, model: PreTrainedModel
) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the processor. If it forbids fixed tokens, computes its mask once for all steps."""
    if not isinstance(processor, SuppressTokensLogitsProcessor):
        return processor
    zeros = torch.zeros(1, model.config.vocab_size, device=model.device)
    mask = processor(torch.empty(0), zeros)  # (1, vocabulary), 0 or -inf
    return lambda input_ids, scores: scores + mask


def _choose(scores: Tensor, sample: bool) -> Tensor:
    """Returns one token per row, (rows, 1), for scores of the vocabulary (rows, vocabulary)."""
    if not sample:
        return scores.argmax(-1, keepdim=True)
    probabilities = scores.softmax(-1)
    if len(scores) == 1:
        return torch.multinomial(probabilities, 1)
    # Inverse transform sampling: the first token whose cumulative probability reaches a number
    # in (0, 1].
    sums = probabilities.cumsum(-1)
    numbers = (1 - torch.rand(len(scores), 1, device=scores.device)) * sums[:, -1:]
    return torch.searchsorted(sums, numbers)


def _close_gaps(ended: Tensor) -> Tensor:
    """Returns the indices of the rows that continue, (rows left,).

    Rows keep their place. Only the last ones move, into the gaps that ended rows leave.
    """
    count = len(ended) - int(ended.sum())
    order = torch.arange(count, device=ended.device)
    order[ended[:count]] = count + (~ended[count:]).nonzero().flatten()
    return order


class _Step:
    """Computes the scores of the next token, in the way that is fastest for this many rows.

    Args:
        rows: the number of rows at the start.
        max_length: the tokens per row that keys and values have room for.
    """

    def __init__(self, model: PreTrainedModel, rows: int, max_length: int):
        on_cpu, plain = model.device.type == "cpu", _is_plain_gpt2(model)
        self.in_bfloat16 = plain and rows >= BFLOAT16_FROM and device.has_fast_bfloat16()
        compiled = self.in_bfloat16 and rows >= COMPILED_FROM and on_cpu and compile_cache.ready()
        if compiled:
            hardware.keep_memory()
        self.model = model
        self.layers = [
            PreallocatedLayer(max_length, torch.bfloat16 if compiled else None)
            for _ in range(model.config.num_hidden_layers)
        ]
        # transformers 5.24 names the argument `cache`, earlier versions `past_key_values`.
        takes_cache = "cache" in inspect.signature(model.forward).parameters
        self.cache = {"cache" if takes_cache else "past_key_values": Cache(layers=self.layers)}
        self.gpt2: _GPT2 | None = None
        if plain:
            attend = _attend if compiled else F.scaled_dot_product_attention
            weights = _in_bfloat16(model) if self.in_bfloat16 else model
            self.gpt2 = _GPT2(weights, self.layers, attend)
            if rows < TRANSPOSED_BELOW and on_cpu:
                transposed = model.lm_head.weight.T.contiguous()  # (width, vocabulary)
                self.gpt2.score = functools.partial(torch.matmul, other=transposed)

    def __call__(self, new: Tensor, positions: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns the scores (rows, vocabulary) after the new tokens, (rows, new tokens)."""
        if self.gpt2 is not None and self._can_use_weights():
            return self.gpt2(new, positions, attention_mask)
        inputs = {"attention_mask": attention_mask, "position_ids": positions, **self.cache}
        return self.model(new, use_cache=True, logits_to_keep=1, **inputs).logits[:, -1]

    def _can_use_weights(self) -> bool:
        """Returns whether the weights alone give the model's own scores.

        They always do for a copy in bfloat16. Otherwise the model itself computes the prompt. If
        its keys then have another type than its weights, it casts, as autocast does in training.
        """
        if self.in_bfloat16:
            return True
        prompt_is_read = self.layers[0].is_initialized
        return prompt_is_read and self.layers[0].computed_in == self.model.dtype

    def keep_rows(self, indices: Tensor) -> None:
        """Keeps only the keys and values of these rows, in this order."""
        for layer in self.layers:
            layer.batch_select_indices(indices)


def _is_plain_gpt2(model: PreTrainedModel) -> bool:
    """Returns whether the model is a GPT-2 that computes only with its weights, with no adapter."""
    if not isinstance(model, GPT2LMHeadModel) or model.config.scale_attn_by_inverse_layer_idx:
        return False
    body = model.transformer
    kinds = {
        body.wte: nn.Embedding,
        body.wpe: nn.Embedding,
        body.ln_f: nn.LayerNorm,
        model.lm_head: nn.Linear,
    }
    for block in body.h:
        kinds |= {block.ln_1: nn.LayerNorm, block.ln_2: nn.LayerNorm}
        products = (block.attn.c_attn, block.attn.c_proj, block.mlp.c_fc, block.mlp.c_proj)
        kinds |= dict.fromkeys(products, Conv1D)
    return all(type(layer) is kind for layer, kind in kinds.items())


def _in_bfloat16(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """Returns a copy with its matrices in bfloat16. Norms and embeddings stay as they are."""
    bf16_model = copy.deepcopy(model)
    for layer in bf16_model.modules():
        if isinstance(layer, (Conv1D, nn.Linear)):
            layer.to(torch.bfloat16)
    return bf16_model


class _GPT2:
    """Computes GPT-2's scores directly from its weights.

    The model is small. The calls of its modules would take most of the time of a step.

    Args:
        layers: the keys and values of each block.
        attend: attention, with the arguments of `scaled_dot_product_attention`.
    """

    def __init__(
        self,
        model: GPT2LMHeadModel,
        layers: list["PreallocatedLayer"],
        attend: Callable[..., Tensor],
    ):
        body = model.transformer
        self.tokens, self.positions = body.wte.weight, body.wpe.weight
        self.blocks = [
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
        self.last_norm = _norm(body.ln_f)
        self.score: Callable[[Tensor], Tensor] = model.lm_head
        self.heads, self.activation = model.config.n_head, body.h[0].mlp.act
        self.dtype = model.lm_head.weight.dtype
        self.layers, self.attend = layers, attend

    def __call__(self, new: Tensor, positions: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns the scores (rows, vocabulary) after the new tokens, (rows, new tokens)."""
        mask = _visible(attention_mask, new.shape[1])
        hidden = F.embedding(new, self.tokens) + F.embedding(positions, self.positions)
        shape, dtype = hidden.shape, self.dtype  # (rows, new tokens, width)
        hidden = hidden.view(-1, shape[-1])
        for block, layer in zip(self.blocks, self.layers, strict=True):
            norm_1, qkv, out, norm_2, up, down = block
            x = F.layer_norm(hidden, *norm_1).to(dtype)
            parts = torch.addmm(qkv[1], x, qkv[0]).view(*shape[:2], 3, self.heads, -1)
            # Each has the shape (rows, heads, new tokens, width of a head).
            query, key, value = parts.to(hidden.dtype).permute(2, 0, 3, 1, 4)
            seen = self.attend(query, *layer.update(key, value), attn_mask=mask).transpose(1, 2)
            hidden = hidden + torch.addmm(out[1], seen.reshape(hidden.shape).to(dtype), out[0])
            x = F.layer_norm(hidden, *norm_2).to(dtype)
            x = self.activation(torch.addmm(up[1], x, up[0]))
            hidden = hidden + torch.addmm(down[1], x, down[0])
        last = hidden.view(shape)[:, -1]
        return self.score(F.layer_norm(last, *self.last_norm).to(dtype))


def _norm(layer: nn.LayerNorm) -> tuple:
    return layer.normalized_shape, layer.weight, layer.bias, layer.eps


def _visible(attention_mask: Tensor, new: int) -> Tensor | None:
    """Returns which tokens the last `new` ones attend to, (rows, 1, new, tokens).

    Returns None if they attend to all. `attention_mask` is (rows, tokens), 0 for padding.
    """
    mask = attention_mask.bool()[:, None, None]
    if new == 1:
        return None if mask.all() else mask
    # Padding attends to itself. A row that attends to nothing would have a softmax of NaN.
    itself = torch.eye(new, attention_mask.shape[1], dtype=torch.bool, device=mask.device)
    return mask & torch.ones_like(itself).tril() | itself


def _attend(query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None) -> Tensor:
    """Computes attention of one new token per row to keys and values in bfloat16.

    It reads them in one pass. They are most of the memory that a step reads, and torch's own
    kernel would first convert all of them to float32. The prompt has keys and values in float32,
    so torch's kernel computes it.
    """
    if query.shape[2] > 1:
        return F.scaled_dot_product_attention(query, keys, values, attn_mask)
    if len(query) < BFLOAT16_FROM:
        return _attention(query, keys, values, attn_mask)
    return compiled_attention()(query, keys, values, attn_mask)


def _attention(query: Tensor, keys: Tensor, values: Tensor, attn_mask: Tensor | None) -> Tensor:
    """Returns attention of one token per row, (rows, heads, 1, width of a head).

    Shapes: query as the result, keys and values (rows, heads, tokens, width of a head),
    mask (rows, 1, 1, tokens).
    """
    # (rows, heads, tokens, 1)
    scores = (keys.float() * query).sum(-1, keepdim=True) * query.shape[-1] ** -0.5
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask.transpose(-1, -2), -torch.inf)
    return (scores.softmax(-2) * values.float()).sum(-2, keepdim=True)


@functools.cache
def compiled_attention() -> Callable[..., Tensor]:
    """Returns the attention of one token per row, compiled."""
    return torch.compile(_attention, dynamic=True)


class PreallocatedLayer(DynamicLayer):
    """Stores one block's keys and values in buffers of full length.

    Their shape is (rows, heads, tokens, width of a head).

    Args:
        max_length: the number of tokens that the buffers have room for.
        stored_in: the type of the buffers, if it differs from that of the keys and values.
    """

    def __init__(self, max_length: int, stored_in: torch.dtype | None = None):
        super().__init__()
        self.max_length, self.stored_in = max_length, stored_in

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        start = self.get_seq_length()
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.computed_in = key_states.dtype
            shape = (*key_states.shape[:2], self.max_length, key_states.shape[-1])
            self._all_keys = key_states.new_empty(shape, dtype=self.stored_in)
            self._all_values = value_states.new_empty(shape, dtype=self.stored_in)
        end = start + key_states.shape[-2]
        self._all_keys[:, :, start:end] = key_states
        self._all_values[:, :, start:end] = value_states
        self.keys, self.values = self._all_keys[:, :, :end], self._all_values[:, :, :end]
        return (self.keys, self.values) if start else (key_states, value_states)

    def batch_select_indices(self, indices: Tensor) -> None:
        count, end = len(indices), self.get_seq_length()
        places = torch.arange(count, device=indices.device)
        moved = (indices != places).nonzero().flatten()
        self._all_keys[moved, :, :end] = self.keys[indices[moved]]
        self._all_values[moved, :, :end] = self.values[indices[moved]]
        self._all_keys, self._all_values = self._all_keys[:count], self._all_values[:count]
        self.keys, self.values = self._all_keys[:, :, :end], self._all_values[:, :, :end]
