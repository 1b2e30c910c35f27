"""Makes pairs of poems and their corrupted copies, in which a few characters are replaced.

The preferred poem keeps every rule of regulated verse, because the model writes it under the mask
of a form (poet/alignment/masked_poems.py). Each replacement breaks a rule. The two poems are equal
elsewhere, so training learns the rules and not the words. Such rejected examples are called hard
negatives.

It knows masks and logits. It does not train.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from poet.alignment.masked_poems import write_in_forms
from poet.alignment.poems import poem_from_ids
from poet.alignment.scores import sampling_scores
from poet.data.poems import Poem
from poet.data.rows import Row, dpo_row
from poet.prosody.judge import judge
from poet.prosody.mask import FormLogitsProcessor
from poet_tokenizer import ask


def corruption_pairs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    poems: Sequence[Poem],
    corruptions: int,
    seed: int,
) -> list[Row]:
    """Returns a pair for each of `poems` that has the length of a regulated form.

    The preferred poem is a new one, for the same title and in the same form. The rejected poem is
    the preferred one with some characters replaced by forbidden ones. The replacements are sampled
    from the model, at positions where it is likely to break a rule. So training corrects mistakes
    that this model makes.

    Args:
        corruptions: Number of characters in which the two poems of a pair differ.
    """
    rows = []
    for mask, titles, written, seed_of_batch in write_in_forms(model, tokenizer, poems, seed):
        corrupted = _corrupt(model, tokenizer, titles, written, mask, corruptions, seed_of_batch)
        for title, chosen_ids, rejected_ids in zip(titles, written, corrupted, strict=True):
            chosen = poem_from_ids(tokenizer, title, chosen_ids)
            rejected = poem_from_ids(tokenizer, title, rejected_ids)
            # One replacement can undo the fault of another.
            if not judge(rejected.text).regulated:
                rows.append(dpo_row((chosen, rejected)))
    return rows


@torch.no_grad()
def _corrupt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: list[str],
    written: list[list[int]],
    mask: FormLogitsProcessor,
    corruptions: int,
    seed: int,
) -> list[list[int]]:
    """Replaces `corruptions` tokens in each poem by tokens that the mask forbids.

    Args:
        written: Token ids of poems in one form. All have the same length and end with the
            end mark.
    """
    prompts = tokenizer.apply_chat_template(
        [ask(title) for title in titles], add_generation_prompt=True
    )["input_ids"]
    texts = [prompt + poem for prompt, poem in zip(prompts, written, strict=True)]
    batch = tokenizer.pad({"input_ids": texts}, padding_side="left", return_tensors="pt").to(
        model.device
    )
    ids, length = batch["input_ids"], len(written[0])
    positions = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)
    logits = model(**batch, position_ids=positions, logits_to_keep=length + 1).logits[:, :-1]
    scores = sampling_scores(logits, model.generation_config)  # (poems, length, vocabulary)
    rng = torch.Generator(model.device).manual_seed(seed)
    chances, replacements = [], []
    for place in range(length - 1):  # the last token is the end mark
        start = ids.shape[1] - length + place
        allowed = mask(ids[:, :start], torch.zeros_like(scores[:, 0])).isfinite()
        forbidden = scores[:, place].softmax(-1).masked_fill(allowed, 0.0)  # (poems, vocabulary)
        forbidden[:, tokenizer.eos_token_id] = 0.0  # a corrupted poem keeps its length
        chances.append(forbidden.sum(-1))
        # multinomial refuses a row of zeros
        replacements.append(torch.multinomial(forbidden + 1e-20, 1, generator=rng).flatten())
    places = torch.multinomial(
        torch.stack(chances, 1) + 1e-20, corruptions, generator=rng
    )  # (poems, corruptions), without repetition
    corrupted = ids[:, -length:].scatter(1, places, torch.stack(replacements, 1).gather(1, places))
    return corrupted.tolist()
