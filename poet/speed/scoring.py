"""Computes the loss over the vocabulary faster on a CPU.

It knows the last layer and its loss. Losses change only by rounding, except with a sample of the
vocabulary (sampled_softmax.py).
The vocabulary has thousands of characters. The logits are therefore by far the largest tensor of
a training step, and far larger than a processor's cache.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

from poet.speed.versions import CannotPatch, check_names, check_signature, check_version

TOKENS_PER_TILE = 512


def check_tiled_loss() -> None:
    """Raises `CannotPatch` if torch cannot compute the loss in tiles; it can from 2.13."""
    check_version("torch")
    check_names(F, "linear_cross_entropy")
    check_names(torch.nn, "LinearCrossEntropyOptions")


def patch_forward_to_return_loss(
    model: PreTrainedModel, in_tiles: bool = False, tokens_per_tile: int = TOKENS_PER_TILE
) -> None:
    """Makes the model return only the loss when labels are given.

    A compiled model computes a gradient for each output. Returning the logits would allocate and
    add a matrix of zeros. The loss is the one that transformers computes for the `loss_type`
    ForCausalLM. It is the mean over the labels, or their sum divided by `num_items_in_batch`.

    With `candidates` (a sample of the vocabulary), only these are scored. Each score is lowered by
    its `log_chance`, and labels are indices of the candidates.

    Args:
        in_tiles: whether torch's `linear_cross_entropy` scores `tokens_per_tile` tokens at a time,
            so that the logits never exist in full.

    Raises:
        CannotPatch: the version of a library is untested, or the model has no plain output layer.
    """
    check_version("transformers")
    check_names(model, "base_model", "lm_head")
    if model.lm_head.bias is not None:
        raise CannotPatch("the output layer has a bias")
    if in_tiles:
        check_tiled_loss()
    plain = getattr(model.forward, "unpatched", model.forward)

    @functools.wraps(plain)
    def forward(
        input_ids: Tensor | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        candidates: Tensor | None = None,
        log_chance: Tensor | None = None,
        **others: Any,
    ) -> Any:
        if labels is None:
            return plain(input_ids, **others)
        outputs = model.base_model(input_ids, use_cache=False, **others)
        hidden = outputs.last_hidden_state  # (batch, positions, width)
        targets = F.pad(labels, (0, 1), value=-100)[:, 1:].flatten()  # (batch x positions,)
        if candidates is not None and log_chance is not None:  # labels then count candidates
            weight = model.lm_head.weight.index_select(0, candidates)  # (candidates, width)
            logits = F.linear(hidden.flatten(0, 1), weight).float() - log_chance
            total = F.cross_entropy(logits, targets, reduction="sum")
        elif in_tiles:
            total = F.linear_cross_entropy(
                hidden.flatten(0, 1),
                model.lm_head.weight,
                targets,
                reduction="sum",
                options=torch.nn.LinearCrossEntropyOptions(
                    batch_chunk_size=tokens_per_tile, allow_retain_graph=True
                ),
            )
        else:
            logits = model.lm_head(hidden).flatten(0, 1)  # (batch x positions, vocabulary)
            total = F.cross_entropy(logits.float(), targets, reduction="sum")
        count = targets.ne(-100).sum() if num_items_in_batch is None else num_items_in_batch
        return CausalLMOutputWithCrossAttentions(loss=total / count)

    forward.unpatched = plain  # type: ignore[attr-defined]
    model.forward = forward


def returns_loss(model: PreTrainedModel) -> bool:
    """Returns whether `patch_forward_to_return_loss` patched the model."""
    return hasattr(model.forward, "unpatched")


def patch_trl_scoring(compiled: bool = False) -> None:
    """Makes trl's trainers score faster on a CPU, for all models of this process.

    Without Triton, trl scores every position, also the prompt and the padding
    (`add_fused_lm_head` in trl/trainer/utils.py). With this patch it scores only positions that
    have a label, in tiles of `TOKENS_PER_TILE` tokens. With `compiled`, one compiled function
    scores all labels at once. It needs three matrix products of the vocabulary's size, and tiles
    need four.

    Calling it again replaces the earlier choice. `unpatch_trl_scoring` restores trl.

    Args:
        compiled: whether compiled code computes the scores. It needs a compiler. The entropy is
            then only logged, and has no gradient.

    Raises:
        CannotPatch: this version of trl is untested, or its names or arguments have changed.
    """
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    check_version("trl")
    check_names(utils, "_use_triton", "_ChunkedLogProbFunction")
    check_names(chunked_logprob, "TOKEN_CHUNK_SIZE")
    tiled = getattr(utils._ChunkedLogProbFunction, "tiled", utils._ChunkedLogProbFunction)
    check_signature(tiled.forward, "ctx", *_ARGUMENTS)
    if not _originals:
        for module, name in _replaced():
            _originals[name] = getattr(module, name)
    # trl asks this only to decide whether positions without a label may be left out.
    utils._use_triton = _score_only_labels
    chunked_logprob.TOKEN_CHUNK_SIZE = TOKENS_PER_TILE
    scores = WholeLogProb(tiled) if compiled else tiled
    utils._ChunkedLogProbFunction = scores  # type: ignore[misc, assignment]


def unpatch_trl_scoring() -> None:
    """Gives trl back the functions that `patch_trl_scoring` replaced."""
    if _originals:
        for module, name in _replaced():
            setattr(module, name, _originals[name])
        _originals.clear()


# The parameters of trl's ChunkedLogProbFunction.forward, after `ctx`.
_ARGUMENTS = (
    *("hidden", "weight", "bias", "targets", "temperature", "chunk_size"),
    *("final_logit_softcapping", "logit_scale", "outputs"),
)
_originals: dict[str, object] = {}


def _replaced() -> list[tuple]:
    """Returns the modules and names in trl that `patch_trl_scoring` replaces."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    return [
        (utils, "_use_triton"),
        (utils, "_ChunkedLogProbFunction"),
        (chunked_logprob, "TOKEN_CHUNK_SIZE"),
    ]


def _score_only_labels(device: torch.device) -> bool:
    return True


class WholeLogProb:
    """Replaces trl's `ChunkedLogProbFunction` by one compiled function of all labels.

    All logits exist at once. Calls with more than `LARGEST` logits, or with an option that this
    class does not know, go to trl's own tiles, uncompiled.

    Args:
        tiled: trl's own function.
    """

    LARGEST = 2**27  # logits; 256 MB in bfloat16, and their gradient takes as much again
    KNOWN = frozenset({"log_probs", "entropy", "mean_logits", "is_top1"})

    def __init__(self, tiled: Any):
        self.tiled = tiled
        self.log_probs = torch.compile(_log_probs, dynamic=True)

    def apply(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor,
        temperature: float, chunk_size: int, softcap: float | None, scale: float,
        outputs: tuple[str, ...],
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """Takes the arguments of trl's function and returns its five values per token.

        `chunk_size` splits the vocabulary. Only the tiles use it.
        """
        known = bias is None and softcap is None and self.KNOWN.issuperset(outputs)
        if not known or len(targets) * len(weight) > self.LARGEST:
            return self.tiled.apply(
                hidden, weight, bias, targets, temperature, chunk_size, softcap, scale, outputs
            )
        if scale != temperature:
            hidden = hidden * (scale / temperature)
        return self.log_probs(hidden, weight, targets, outputs)


def _log_probs(
    hidden: Tensor, weight: Tensor, targets: Tensor, outputs: tuple[str, ...]
) -> tuple[Tensor | None, ...]:
    """Returns the five values per token of trl's function, None for those not in `outputs`.

    Shapes: hidden (tokens, width), weight (vocabulary, width), targets (tokens,).
    The sums over the vocabulary stand next to each other. The compiler then makes one pass over
    the logits.
    """
    logits = F.linear(hidden, weight).float()  # (tokens, vocabulary)
    log_probs = -F.cross_entropy(logits, targets, reduction="none")
    logits, target = logits.detach(), targets[:, None]
    highest = logits.amax(-1)
    exps = (logits - highest[:, None]).exp()
    total = exps.sum(-1)
    entropy, mean_logits, is_top1 = None, None, None
    if "entropy" in outputs:
        entropy = highest + total.log() - (exps * logits).sum(-1) / total
    if "mean_logits" in outputs:
        mean_logits = logits.sum(-1) / logits.size(-1)
    if "is_top1" in outputs:  # of equal logits, the first one is the top
        not_before = torch.arange(logits.size(-1), device=logits.device) >= target
        highest_before = logits.masked_fill(not_before, -torch.inf).amax(-1)
        of_target = logits.gather(1, target).squeeze(1)
        is_top1 = (of_target >= highest) & (of_target > highest_before)
    return log_probs, entropy, None, mean_logits, is_top1
