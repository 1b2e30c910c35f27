"""Writes poems for titles, with a model and its tokenizer.

    model, tokenizer = load("runs/tang/dpo")
    write(model, tokenizer, "春夜喜雨", n=4, form="五言律詩", seed=7)

It knows `generate`. It imports the fast generation loop and the rules of a form only when a call
needs them. It does not know training or the terminal.

The same title, seed and settings give the same poem here and in `pipeline("text-generation")`,
with `plain=True` and without. Both start from the generation defaults saved in the checkpoint.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.generation import BaseStreamer

from poet import device
from poet.errors import UserError
from poet_tokenizer import Message, ask, byte_token_ids, encode_text

if TYPE_CHECKING:
    from poet.prosody.request import FormRequest

Title = str | list[Message]
"""A title, or the messages of a whole prompt."""


def write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: str | Sequence[Title],
    *,
    n: int = 1,
    form: "str | FormRequest | None" = None,
    stream: Callable[[str], object] | None = None,
    seed: int | None = None,
    instruction: str | None = None,
    plain: bool = False,
    **generation: Any,
) -> list[str]:
    """Writes poems for one title or several.

    With `n` above 1, the poems of each title are ranked by `mean_log_probabilities`. The poem
    that the model finds likeliest comes first.

    Args:
        titles: One title, or several titles or prompts. A title in simplified characters is
            converted if the model knows traditional ones only, and the other way round.
        n: The number of poems per title.
        form: A form that all poems keep. Give its name, such as `"五言律詩"` (regulated verse of
            eight lines), or a request from `read_form`.
        stream: A function that receives the pieces of a single poem as soon as they are written.
        seed: The random seed. With None, every call gives other poems.
        instruction: An instruction that replaces the one of the chat template.
        plain: Whether `generate` runs its own loop.
        generation: More settings, which `write_ids` explains.

    Returns:
        `n` poems per title, in the order of the titles.

    Raises:
        UserError: If a title is too long, or if the model cannot write the form.
        ValueError: If several poems are to be streamed.
    """
    titles = [titles] if isinstance(titles, str) else list(titles)
    vocabulary = tokenizer.get_vocab()
    titles = [_in_script_of(vocabulary, title) for title in titles]
    settings: dict[str, Any] = {"seed": seed, "instruction": instruction, "plain": plain}
    settings |= generation
    if form is not None:
        mask = _mask(model, tokenizer, titles, form, instruction)
        settings["logits_processor"] = [*generation.get("logits_processor", []), mask]
    if stream is not None:
        if n * len(titles) != 1:
            raise ValueError(f"only one poem can be streamed, not {n * len(titles)}")
        settings["streamer"] = _WholeCharacters(tokenizer, stream)
    repeated = [title for title in titles for _ in range(n)]
    poems = write_ids(model, tokenizer, repeated, **settings)
    if n > 1:
        for start, title in zip(range(0, len(poems), n), titles, strict=True):
            of_title = poems[start : start + n]
            scores = mean_log_probabilities(model, tokenizer, title, of_title, instruction)
            ranking = sorted(range(n), key=lambda i: -scores[i])
            poems[start : start + n] = [of_title[i] for i in ranking]
    # `batch_decode` turns an empty list into one text.
    return tokenizer.batch_decode(poems, skip_special_tokens=True) if poems else []


def write_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: Sequence[Title],
    *,
    batch_size: int = 256,
    seed: int | None = None,
    instruction: str | None = None,
    plain: bool = False,
    streamer: BaseStreamer | None = None,
    **generation: Any,
) -> list[list[int]]:
    """Writes one poem per title and returns the new tokens of each poem.

    The last token of a whole poem is the end mark. A poem that reached the model's last position
    or `max_new_tokens` has none.

    Args:
        titles: Titles or prompts. Repeat a title for more than one poem.
        batch_size: The number of poems that are written at the same time.
        seed: The random seed. With None, every call gives other poems. In both cases the random
            state of the caller stays as it was.
        instruction: An instruction that replaces the one of the chat template.
        plain: Whether `generate` runs its own loop. The default loop is poet/speed/decode.py.
        streamer: A streamer of transformers, for a single title.
        generation: Settings of `generate` that replace the checkpoint's defaults. Prompt and poem
            together never have more tokens than the model has positions, also with a larger
            `max_new_tokens`. A `guidance_scale` above 1 keeps the poem closer to its title and
            takes more than twice the time (classifier-free guidance,
            https://arxiv.org/abs/2306.17806).

    Raises:
        UserError: If a title is so long that its poem has no room.
        ValueError: For `num_return_sequences`.
    """
    if generation.get("num_return_sequences", 1) != 1:
        raise ValueError("write_ids writes one poem per title. For more, repeat the title.")
    positions = model.config.max_position_embeddings
    limit = generation.pop("max_new_tokens", positions)
    if not plain and _is_sampling_or_greedy(generation):
        from poet.speed.decode import custom_generate

        # `generate` streams the prompt only. Our loop has to stream the new tokens.
        if loop := custom_generate():
            generation["custom_generate"] = partial(loop, streamer=streamer)
    prompts = [_prompt(tokenizer, title, instruction) for title in titles]
    for title, prompt in zip(titles, prompts, strict=True):
        if len(prompt) >= positions:
            text = title if isinstance(title, str) else title[-1]["content"]
            raise UserError(
                f"the title {text[:20]}… is too long: its prompt takes {len(prompt)} tokens, and "
                f"the model holds {positions}. Shorten it, so that a poem has room."
            )
    # Prompts of similar length share a batch, which saves padding.
    order = sorted(range(len(titles)), key=lambda i: len(prompts[i]))
    poems: list[list[int]] = [[] for _ in titles]
    with _undisturbed(model, seed):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = tokenizer.pad(
                {"input_ids": [prompts[i] for i in chosen]},
                padding_side="left",
                return_tensors="pt",
            ).to(model.device)
            width = batch["input_ids"].shape[1]
            settings = {
                "max_length": min(width + limit, positions),
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
                **generation,
            }
            rows = model.generate(**batch, streamer=streamer, **settings)  # (B, width + new)
            for i, ids in zip(chosen, rows[:, width:].tolist(), strict=True):
                ended = tokenizer.eos_token_id in ids
                poems[i] = ids[: ids.index(tokenizer.eos_token_id) + 1] if ended else ids
    return poems


@torch.inference_mode()
def mean_log_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    title: Title,
    poems: Sequence[list[int]],
    instruction: str | None = None,
) -> list[float]:
    """Returns the log-probability of each poem after its title, as a mean in nats per token.

    The model computes it at temperature 1 and with no token forbidden. A mean favors neither
    short nor long poems.

    Args:
        poems: The tokens of the poems, from `write_ids`.
    """
    prompt = _prompt(tokenizer, title, instruction)
    means = []
    for ids in poems:
        row = torch.tensor([prompt + ids], device=model.device)  # (1, prompt + poem)
        logits = model(row[:, :-1], use_cache=False).logits[0, len(prompt) - 1 :]  # (poem, V)
        loss = torch.nn.functional.cross_entropy(logits.float(), row[0, len(prompt) :])
        means.append(-loss.item())
    return means


def continue_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    *,
    new_tokens: int = 64,
    seed: int | None = None,
) -> list[str]:
    """Returns texts with their continuations, for a pretrained model, which knows no titles."""
    encoded = [encode_text(tokenizer, text) for text in texts]
    batch = tokenizer.pad({"input_ids": encoded}, padding_side="left", return_tensors="pt")
    width = batch["input_ids"].shape[1]
    limit = min(width + new_tokens, model.config.max_position_embeddings)
    with _undisturbed(model, seed):
        rows = model.generate(**batch.to(model.device), max_length=limit, use_cache=True)
    return tokenizer.batch_decode(rows, skip_special_tokens=True)


def _mask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: Sequence[Title],
    form: "str | FormRequest",
    instruction: str | None,
) -> Any:
    """Returns the logits processor that keeps a form.

    Raises:
        UserError: If the vocabulary cannot fulfil the request, or a title leaves too little room.
    """
    from poet.prosody.mask import FormLogitsProcessor
    from poet.prosody.request import read_form

    request = read_form(form) if isinstance(form, str) else form
    mask = FormLogitsProcessor(tokenizer, request)
    positions = model.config.max_position_embeddings
    for title in titles:
        prompt = len(_prompt(tokenizer, title, instruction))
        if prompt + request.tokens > positions:
            raise UserError(
                f"the title takes {prompt} tokens with its prompt, and {request.label} of "
                f"{request.lines} lines takes {request.tokens}. The model holds {positions}. "
                "Shorten the title or ask for fewer lines."
            )
    return mask


def _in_script_of(vocabulary: dict[str, int], title: Title) -> Title:
    """Returns the title, in the script of the vocabulary if that lacks characters of the title."""
    if not isinstance(title, str) or all(character in vocabulary for character in title):
        return title
    from poet.prosody.script import to_script_of

    return to_script_of(vocabulary, title)


def _prompt(
    tokenizer: PreTrainedTokenizerFast, title: Title, instruction: str | None = None
) -> list[int]:
    """Returns the tokens that ask for a poem with this title."""
    chat = ask(title, instruction) if isinstance(title, str) else title
    return tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]


def _is_sampling_or_greedy(generation: dict[str, Any]) -> bool:
    """Returns whether poet/speed/decode.py can run these settings.

    Guidance runs a second model, whose rows cannot leave the batch. Beams need `generate`'s loop.
    """
    return generation.get("guidance_scale") in (None, 1) and generation.get("num_beams", 1) == 1


class _WholeCharacters(BaseStreamer):
    """Passes each new token on as text.

    Byte tokens wait until a run of them is over, since only then their characters are certain.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, show: Callable[[str], object]):
        self.tokenizer, self.show = tokenizer, show
        self.byte_ids = set(byte_token_ids(tokenizer))
        self.waiting: list[int] = []
        self.at_prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self.at_prompt:  # `generate` streams the prompt first
            self.at_prompt = False
            return
        self.waiting += value.flatten().tolist()
        if self.waiting[-1] not in self.byte_ids:
            self.end()

    def end(self) -> None:
        text = self.tokenizer.decode(self.waiting, skip_special_tokens=True)
        self.waiting = []
        if text:
            self.show(text)


@contextmanager
def _undisturbed(model: PreTrainedModel, seed: int | None) -> Iterator[None]:
    """Switches to evaluation mode and to `seed`, and restores mode and random state at the end."""
    was_training = model.training
    with device.undisturbed_random_numbers(model.device), torch.inference_mode():
        if seed is None:
            torch.seed()
        else:
            torch.manual_seed(seed)
        model.eval()
        try:
            yield
        finally:
            model.train(was_training)
