"""How a batch's tokens are scored against the vocabulary, made to pay on a CPU: a few hundred tokens at a time.

Knows the last layer and its loss; changes no loss beyond rounding. With thousands of characters to choose from, the
scores of a batch are by far the largest thing that a step makes, and far larger than a processor's cache.
"""

import functools

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

TOKENS_A_TILE = 128


def score_in_tiles(model: PreTrainedModel, tokens: int = 512) -> None:
    """Where labels are given, `model` computes their loss, and no scores, by torch's `linear_cross_entropy`.

    The loss is the one that transformers computes with `loss_type` ForCausalLM: the mean over the labels, or their sum over
    `num_items_in_batch`. Nothing changes in saved checkpoints, nor where torch lacks the function (before 2.13).
    """
    if not hasattr(F, "linear_cross_entropy"):
        return
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=tokens, allow_retain_graph=True)
    plain = model.forward

    @functools.wraps(plain)
    def forward(input_ids=None, labels=None, num_items_in_batch=None, **others):
        if labels is None:
            return plain(input_ids, **others)
        hidden = model.base_model(input_ids, **others).last_hidden_state  # (batch, positions, width)
        following = F.pad(labels, (0, 1), value=-100)[:, 1:].flatten()
        total = F.linear_cross_entropy(
            hidden.flatten(0, 1), model.lm_head.weight, following, reduction="sum", options=options
        )
        count = following.ne(-100).sum() if num_items_in_batch is None else num_items_in_batch
        return CausalLMOutputWithCrossAttentions(loss=total / count)

    model.forward = forward


def score_only_what_counts() -> None:
    """The same for trl, which has tiles of its own: two of its settings are changed for this process.

    Without Triton, trl 1.16 scores every position, prompt and padding too, in one tile (`add_fused_lm_head` in
    trl/trainer/utils.py). Scoring only what has a label, a few tokens a tile, makes a step of fine-tuning about a quarter
    shorter. On a GPU, where trl does the same by itself, nothing changes.
    """
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    if torch.accelerator.is_available():
        return
    # Asked there only whether positions without a label may be left out; the tiles are computed by torch either way.
    if hasattr(utils, "_use_triton") and hasattr(chunked_logprob, "TOKEN_CHUNK_SIZE"):
        utils._use_triton = lambda device: True
        chunked_logprob.TOKEN_CHUNK_SIZE = TOKENS_A_TILE
