"""How a batch's tokens are scored against the vocabulary, made to pay on a CPU.

Knows the last layer and its loss; changes no loss beyond rounding. With thousands of characters to choose from, the
scores of a batch are by far the largest thing that a step makes, and far larger than a processor's cache.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

from poet.speed import hardware

TOKENS_A_TILE = 512


def patch_forward_to_return_loss(
    model: PreTrainedModel, in_tiles: bool = False, tokens_a_tile: int = TOKENS_A_TILE
) -> None:
    """Where labels are given, `model` returns their loss, and neither scores nor keys and values.

    What a compiled model returns it takes a gradient of, and the scores' is a whole matrix of zeros to be made and added.
    The loss is the one that transformers computes with `loss_type` ForCausalLM: the mean over the labels, or their sum over
    `num_items_in_batch`. Nothing changes in saved checkpoints.

    Args:
        in_tiles: `tokens_a_tile` at a time are scored and forgotten again, by torch's `linear_cross_entropy` where torch has
            it (from 2.13), and not all at once.
    """
    plain = model.forward

    @functools.wraps(plain)
    def forward(input_ids=None, labels=None, num_items_in_batch=None, **others):
        if labels is None:
            return plain(input_ids, **others)
        hidden = model.base_model(
            input_ids, use_cache=False, **others
        ).last_hidden_state  # (batch, positions, width)
        following = F.pad(labels, (0, 1), value=-100)[:, 1:].flatten()
        if in_tiles and hasattr(F, "linear_cross_entropy"):
            options = torch.nn.LinearCrossEntropyOptions(
                batch_chunk_size=tokens_a_tile, allow_retain_graph=True
            )
            total = F.linear_cross_entropy(
                hidden.flatten(0, 1),
                model.lm_head.weight,
                following,
                reduction="sum",
                options=options,
            )
        else:
            total = F.cross_entropy(
                model.lm_head(hidden).flatten(0, 1).float(), following, reduction="sum"
            )
        count = following.ne(-100).sum() if num_items_in_batch is None else num_items_in_batch
        return CausalLMOutputWithCrossAttentions(loss=total / count)

    model.forward = forward


def patch_trl_scoring(compiled: bool = False) -> None:
    """The same for trl, which has tiles of its own: some of its settings are changed for this process, and a function replaced.

    Without Triton, trl 1.16 scores every position, prompt and padding too (`add_fused_lm_head` in trl/trainer/utils.py), and in
    bfloat16 multiplies back in float32. Here what has a label is scored, a few tokens a tile, in bfloat16 products; or, compiled,
    all in one, which takes three products of the vocabulary's size where tiles take four. On a GPU, where trl does well by
    itself, nothing changes.

    Args:
        compiled: whether scores are computed by compiled code, where there is a C++ compiler. Their entropy is then told, and
            nothing can be learned from it.
    """
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    if torch.accelerator.is_available():
        return
    # Asked there only whether positions without a label may be left out; the tiles are computed by torch either way.
    if hasattr(utils, "_use_triton") and hasattr(chunked_logprob, "TOKEN_CHUNK_SIZE"):
        utils._use_triton = lambda device: True
        chunked_logprob.TOKEN_CHUNK_SIZE = TOKENS_A_TILE
    if hasattr(chunked_logprob, "_addmm_fp32"):
        chunked_logprob._addmm_fp32 = _add_product
    if hasattr(utils, "_ChunkedLogProbFunction"):
        in_tiles = getattr(utils._ChunkedLogProbFunction, "in_tiles", utils._ChunkedLogProbFunction)
        in_one = compiled and hardware.has_compiler()
        utils._ChunkedLogProbFunction = WholeLogProb(in_tiles) if in_one else in_tiles


class WholeLogProb:
    """Stands in for trl's `ChunkedLogProbFunction`: one compiled function of all labels, whose scores are all kept at once.

    What it does not know, and more than `LARGEST` scores, is left to trl's tiles, uncompiled.

    Args:
        in_tiles: trl's own.
    """

    LARGEST = 2**27  # a quarter of a gigabyte in bfloat16, and as much again for their gradient
    KNOWN = frozenset({"log_probs", "entropy", "mean_logits", "is_top1"})

    def __init__(self, in_tiles):
        self.in_tiles = in_tiles
        self.log_probs = torch.compile(_log_probs, dynamic=True)

    def apply(
        self, hidden: Tensor, weight: Tensor, bias, targets: Tensor, temperature: float, chunk_size: int, softcap, scale, outputs
    ):  # fmt: skip
        """Arguments and values of trl's function; `chunk_size`, of the vocabulary, is for tiles alone."""
        known = bias is None and softcap is None and self.KNOWN.issuperset(outputs)
        if not known or len(targets) * len(weight) > self.LARGEST:
            return self.in_tiles.apply(
                hidden, weight, bias, targets, temperature, chunk_size, softcap, scale, outputs
            )
        if scale != temperature:
            hidden = hidden * (scale / temperature)
        return self.log_probs(hidden, weight, targets, outputs)


def _log_probs(hidden: Tensor, weight: Tensor, targets: Tensor, outputs: tuple[str, ...]):
    """(tokens, width), (vocabulary, width), (tokens) -> the five values a token of trl's function, None where not asked for.

    The sums over the vocabulary stand side by side so that they are one pass over the logits.
    """
    logits = F.linear(hidden, weight).float()  # (tokens, vocabulary)
    log_probs = -F.cross_entropy(logits, targets, reduction="none")
    logits, target = logits.detach(), targets[:, None]
    highest = logits.amax(-1)
    exps = (logits - highest[:, None]).exp()
    total = exps.sum(-1)
    entropy = (
        highest + total.log() - (exps * logits).sum(-1) / total if "entropy" in outputs else None
    )
    mean_logits = logits.sum(-1) / logits.size(-1) if "mean_logits" in outputs else None
    is_top1 = None
    if "is_top1" in outputs:  # of equal logits the first one counts
        behind = torch.arange(logits.size(-1), device=logits.device) >= target
        before, own = (
            logits.masked_fill(behind, -torch.inf).amax(-1),
            logits.gather(1, target).squeeze(1),
        )
        is_top1 = (own >= highest) & (own > before)
    return log_probs, entropy, None, mean_logits, is_top1


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """total += a @ b, for a float32 total; the product in the type of its factors, which is rounded once a tile."""
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total.add_(a @ b)
