"""Measures how likely a model finds held-out poems or other texts, in nats per character.

It knows models and tokenizers. It does not know run folders or rules of verse.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet.data.rows import POEM_SEPARATOR
from poet.evaluation.copies import TrainingPoems
from poet.evaluation.held_out import Answer
from poet.evaluation.intervals import Estimate, ratio
from poet.evaluation.row import Row
from poet.text import line_length
from poet_tokenizer import encode_text

Cost = tuple[float, int]
"""The nats of one poem and its number of characters."""
_BATCH_TOKENS = 1024  # the logits of more tokens no longer fit a processor's cache


def text_measures(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[str],
    bodies: Sequence[str],
    training: TrainingPoems,
) -> Row:
    """Returns the losses of a text.

    Args:
        poems: the poems of the text with their titles.
        bodies: the same poems without titles.
    """
    costs = text_costs(model, tokenizer, poems)
    loss = ratio(costs)
    low, high = loss.interval
    unseen = [cost for cost, body in zip(costs, bodies, strict=True) if not training.has_seen(body)]
    return Row(
        loss=loss,
        perplexity=Estimate(math.exp(loss.value), (math.exp(low), math.exp(high))),
        loss_unseen=ratio(unseen) if unseen else None,
    )


def title_measures(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Answer],
    sample: Sequence[Answer],
    training: TrainingPoems,
) -> Row:
    """Returns the losses of poems under their titles.

    Args:
        sample: the poems for `title_gain`, some of `poems`.
    """
    costs = poem_costs(model, tokenizer, poems)
    cost_of = dict(zip(map(id, poems), costs, strict=True))  # a list of messages is no key
    seen = [training.has_seen(poem.text, poem.asked()) for poem in poems]
    unseen = [cost for cost, leaked in zip(costs, seen, strict=True) if not leaked]
    five_character = [cost_of[id(poem)] for poem in poems if line_length(poem.text) == 5]
    return Row(
        poem_loss=ratio(costs),
        poem_loss_unseen=ratio(unseen) if unseen else None,
        poem_loss_five_character=ratio(five_character) if five_character else None,
        title_gain=title_gain(model, tokenizer, sample, [cost_of[id(poem)] for poem in sample]),
        leaked_poems=sum(seen),
    )


def title_gain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Answer],
    costs: Sequence[Cost],
) -> Estimate:
    """Returns the nats per character that a poem's title saves against the title of another poem.

    Args:
        costs: the costs of the poems under their own titles.
    """
    prompts = [poem.prompt for poem in poems]
    other_prompts = prompts[-1:] + prompts[:-1]
    shuffled = [
        Answer(prompt, poem.text) for prompt, poem in zip(other_prompts, poems, strict=True)
    ]
    shuffled_costs = poem_costs(model, tokenizer, shuffled)
    # A long title may push the end of a long poem over the last position. Then the two costs are
    # for different characters, and the poem is left out.
    return ratio(
        [
            (other_nats - nats, count)
            for (nats, count), (other_nats, other_count) in zip(costs, shuffled_costs, strict=True)
            if count == other_count
        ]
    )


def text_costs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, poems: Sequence[str]
) -> list[Cost]:
    """Returns the nats and the characters of each poem of a text, with the blank line after it.

    The text is read in windows of `n_positions` tokens that do not overlap. They cross the ends of
    the poems, as in training. The tokens after the last whole window are left out.
    """
    texts = [poem + POEM_SEPARATOR for poem in poems[:-1]] + list(poems[-1:])
    encoded = [encode_text(tokenizer, text) for text in texts]
    ids = list(itertools.chain.from_iterable(encoded))
    if len(ids) < 2:
        return [(0.0, 0) for _ in poems]
    size = min(model.config.n_positions, len(ids) - 1)
    windows = [(ids[start : start + size + 1], 1) for start in range(0, len(ids) - size, size)]
    nats = torch.cat(_token_nats(model, windows)).tolist()  # nats[i] is for ids[i + 1]
    costs = []
    start = -1  # the first token of the text has no prediction
    for poem_ids in encoded:
        first, end = max(start, 0), min(start + len(poem_ids), len(nats))
        characters = len(tokenizer.decode(ids[first + 1 : end + 1]))
        costs.append((sum(nats[first:end]), characters))
        start += len(poem_ids)
    return costs


def poem_costs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, poems: Sequence[Answer]
) -> list[Cost]:
    """Returns the nats and the tokens of each poem with its end mark, given its title.

    Tokens after the last position of the model are left out.
    """
    chats = [poem.prompt for poem in poems]
    prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True)["input_ids"]
    sequences = []
    for prompt, poem in zip(prompts, poems, strict=True):
        ids = prompt + encode_text(tokenizer, poem.text) + [tokenizer.eos_token_id]
        sequences.append((ids[: model.config.n_positions], len(prompt)))
    return [(nats.sum().item(), len(nats)) for nats in _token_nats(model, sequences)]


@torch.inference_mode()
def _token_nats(
    model: PreTrainedModel, sequences: Sequence[tuple[list[int], int]]
) -> list[torch.Tensor]:
    """Takes sequences (ids, k). Returns the nats of ids[k:] for each, shape (len(ids) - k,).

    Sequences of similar length share a batch of about `_BATCH_TOKENS` tokens. The padding stands
    behind them, where causal attention does not see it.
    """
    longest_last = sorted(range(len(sequences)), key=lambda i: len(sequences[i][0]))
    nats = [torch.zeros(0)] * len(sequences)
    while longest_last:
        size = max(1, _BATCH_TOKENS // len(sequences[longest_last[-1]][0]))
        batch = longest_last[-size:]
        longest_last = longest_last[:-size]
        batch_nats = _batch_nats(model, [sequences[i] for i in batch])
        for i, row in zip(batch, batch_nats, strict=True):
            ids, first = sequences[i]
            nats[i] = row[first - 1 : len(ids) - 1]
    return nats


def _batch_nats(model: PreTrainedModel, batch: list[tuple[list[int], int]]) -> torch.Tensor:
    """Takes sequences (ids, k). Returns the nats of their tokens but the first, shape (B, T - 1).

    The nats are 0 for padding and for the tokens before k.
    """
    width = max(len(ids) for ids, _ in batch)
    # Padding with the padding token makes transformers warn of a missing attention mask, and
    # causal attention without a mask is faster.
    ids = torch.full((len(batch), width), model.config.eos_token_id)  # (B, T)
    labels = torch.full((len(batch), width), -100)  # (B, T)
    for row, (sequence, first) in enumerate(batch):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        labels[row, first : len(sequence)] = torch.tensor(sequence[first:])
    ids, labels = ids.to(model.device), labels[:, 1:].to(model.device)
    logits = model(input_ids=ids[:, :-1]).logits.float()  # (B, T - 1, vocabulary)
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none"
    )
    return nats.view(labels.shape).cpu()
