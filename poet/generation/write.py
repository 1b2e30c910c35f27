"""A checkpoint and titles -> poems.

Knows checkpoint folders and how to ask `generate`, for which poet/speed/decode.py draws; knows nothing of verse's rules, of
training or of the terminal.

The same title, seed and settings give the same poem here and in `pipeline("text-generation")`, since both start from
the checkpoint's own generation defaults (`generation_defaults`, saved beside the weights).
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.generation import BaseStreamer

from poet import device
from poet.errors import UserError, first_line
from poet.speed.decode import sample_loop
from poet.training import checkpoints
from poet_tokenizer import SPECIAL_TOKENS, ask, byte_token_ids, encode_text


def generation_defaults(
    tokenizer: PreTrainedTokenizerFast,
    n_positions: int,
    temperature: float,
    top_k: int,
    top_p: float,
) -> GenerationConfig:
    """How a checkpoint writes when nobody says otherwise: sampled, whole characters, up to the end mark.

    The limit is `max_length` = n_positions, prompt and poem together. A `max_new_tokens` would let a long title push
    the poem over the model's last position, and with neither `pipeline` takes 256 new tokens whatever the model holds.

    Raises:
        UserError: a setting that `generate` or the first save of a checkpoint would refuse, hours later.
    """
    check_sampling(temperature, top_k, top_p)
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer has no end mark (eos_token), without which a poem has no end"
        )
    tags = {id for token, id in tokenizer.get_vocab().items() if token in SPECIAL_TOKENS} - {
        tokenizer.eos_token_id
    }
    return GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        max_length=n_positions,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        suppress_tokens=[
            *sorted(tags),
            *byte_token_ids(tokenizer),
        ],  # half a character would be shown as U+FFFD
    )


def check_sampling(
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    guidance_scale: float | None = None,
) -> None:
    """Raises a UserError for a setting that no drawing is possible with."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise UserError(f"temperature must be a number above 0, not {temperature}")
    if top_k < 0:
        raise UserError(f"top_k must be at least 0 (0: every character may be drawn), not {top_k}")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p must be above 0 and at most 1, not {top_p}")
    if guidance_scale is not None and not 1 <= guidance_scale < math.inf:
        raise UserError(f"guidance must be at least 1 (1: none), not {guidance_scale}")


def load(path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A checkpoint folder, or an adapter's -> its model (float32, evaluation mode) and its tokenizer.

    Raises:
        UserError: no such folder, a file, no checkpoint, or a tokenizer that belongs to another model.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no checkpoint folder {path}")
    if not path.is_dir():
        raise UserError(
            f"{path} is a file; a checkpoint is the folder that holds config.json and model.safetensors"
        )
    if checkpoints.is_adapter(path):
        return load_adapter(path)
    missing = [name for name in ("config.json", "tokenizer.json") if not (path / name).is_file()]
    if missing:
        raise UserError(f"{path} is not a checkpoint: it has no {' and no '.join(missing)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, use_safetensors=True
        ).eval()
    except RuntimeError as error:  # transformers points to a report that it has logged
        raise UserError(
            f"the weights in {path} have not the shapes that its config.json gives: they come from different runs, so copy both "
            "from the folder where the model was trained"
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{path} is not a whole checkpoint: {first_line(error)}") from error
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) != rows:
        raise UserError(
            f"the tokenizer in {path} has {len(tokenizer)} tokens and the model {rows}: "
            "they come from different runs, so copy the tokenizer from the folder where the model was trained"
        )
    return model, tokenizer


def check_template(tokenizer: PreTrainedTokenizerFast, path: str | Path) -> None:
    """Raises a UserError where the tokenizer of a checkpoint cannot put a title to its model."""
    if tokenizer.chat_template is None:
        raise UserError(
            f"the tokenizer in {path} has no chat template, by which a title is put to the model; "
            "write one into chat_template.jinja there"
        )


def load_adapter(
    path: str | Path, base: str | Path | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """An adapter's folder -> the model that it was trained on, or `base`, with the adapter merged into its weights.

    Raises:
        UserError: no adapter, no PEFT, a base that is not there, or one that the adapter does not fit.
    """
    path = Path(path)
    if not checkpoints.is_adapter(path):
        raise UserError(
            f"{path} is not an adapter: it has no adapter_config.json; train_sft.py --author makes one"
        )
    base = base or base_of(path)
    model, tokenizer = load(base)
    try:
        from peft import (
            PeftConfig,
            PeftModelForCausalLM,
            get_peft_model_state_dict,
            set_peft_model_state_dict,
        )
    except ImportError as error:
        raise UserError(
            "an adapter needs PEFT, which is not installed here: pip install peft"
        ) from error
    try:
        weights = load_file(path / "adapter_model.safetensors")
        own_tokenizer = AutoTokenizer.from_pretrained(path)
        adapted = PeftModelForCausalLM(model, PeftConfig.from_pretrained(path))
        model.generation_config = GenerationConfig.from_pretrained(path)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise UserError(f"{path} is not a whole adapter of {base}: {first_line(error)}") from error
    # PEFT itself leaves out what the model has no place for, and leaves untrained what the adapter lacks.
    places = {
        name: weight.shape
        for name, weight in get_peft_model_state_dict(adapted, save_embedding_layers=False).items()
    }
    if places != {name: weight.shape for name, weight in weights.items()}:
        raise UserError(f"the adapter {path} was trained on a model of another shape than {base}")
    if own_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the adapter {path} was trained with another tokenizer than that of {base}: use its own run's"
        )
    set_peft_model_state_dict(adapted, weights)
    return adapted.merge_and_unload(), tokenizer


def base_of(adapter: Path) -> Path:
    """The folder of the model that an adapter names as its base, or the one of that name beside the adapter."""
    try:
        named = Path(
            json.loads((adapter / "adapter_config.json").read_text("utf-8"))[
                "base_model_name_or_path"
            ]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{adapter}/adapter_config.json names no base model; name it with --model"
        ) from error
    beside = [
        folder / named.name for folder in adapter.resolve().parents[:2]
    ]  # of a stage, and of its checkpoints
    found = next((folder for folder in (named, *beside) if folder.is_dir()), None)
    if found is None:
        raise UserError(
            f"the adapter {adapter} names {named} as its base model, which is not here; name it with --model"
        )
    return found


def write_ids(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    titles: list[str],
    *,
    batch_size: int = 256,
    seed: int | None = None,
    instruction: str | None = None,
    streamer: BaseStreamer | None = None,
    **generation,
) -> list[list[int]]:
    """(titles) -> the new tokens of one poem a title, in the same order; a whole poem's last one is the end mark.

    Args:
        batch_size: poems written side by side, left-padded, with a cache of keys and values.
        seed: of the drawing; None draws anew each time. The caller's random state is left as it was.
        instruction: what is asked for, where it is not a poem for a title (`poet.alignment.themes.INSTRUCTION`).
        generation: what departs from the checkpoint's own defaults, named as for `generate`. With `max_new_tokens`
            too, prompt and poem together never get longer than the model's positions. A `guidance_scale` above 1 keeps the
            poem closer to its title (classifier-free guidance: Sanchez et al., arXiv:2306.17806), for twice the time and more.

    Raises:
        UserError: a title so long that no position is left for a poem.
        ValueError: `num_return_sequences`; more poems of a title are more titles.
    """
    if generation.get("num_return_sequences", 1) != 1:
        raise ValueError("there is one poem a title: name the title more than once")
    positions = model.config.max_position_embeddings
    limit = generation.pop("max_new_tokens", positions)
    # With guidance a second model runs along, whose rows cannot leave; beams are `generate`'s own.
    if generation.get("guidance_scale") in (None, 1) and generation.get("num_beams", 1) == 1:
        generation["custom_generate"] = partial(
            sample_loop, streamer=streamer
        )  # which `generate` leaves out for such
    chats = [ask(title, instruction) for title in titles]
    prompts = (
        tokenizer.apply_chat_template(chats, add_generation_prompt=True)["input_ids"]
        if chats
        else []
    )
    for title, prompt in zip(titles, prompts, strict=True):
        if len(prompt) >= positions:
            raise UserError(
                f"the title {title[:20]}… is too long: its prompt takes {len(prompt)} tokens of the {positions} "
                "that the model holds, so no room is left for a poem"
            )
    order = sorted(
        range(len(titles)), key=lambda i: len(prompts[i])
    )  # like lengths side by side: little padding
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
            written = model.generate(**batch, streamer=streamer, **settings)[
                :, width:
            ].tolist()  # (B, new tokens)
            for i, ids in zip(chosen, written, strict=True):
                end = (
                    ids.index(tokenizer.eos_token_id) + 1
                    if tokenizer.eos_token_id in ids
                    else len(ids)
                )
                poems[i] = ids[:end]
    return poems


def write_poems(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, titles: list[str], **settings
) -> list[str]:
    """(titles) -> one poem a title, in the same order; settings and errors are those of `write_ids`."""
    written = write_ids(model, tokenizer, titles, **settings)
    # Of an empty list transformers 5.17 makes one text.
    return tokenizer.batch_decode(written, skip_special_tokens=True) if written else []


def write_ranked(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, title: str, n: int, **settings
) -> list[str]:
    """n poems of one title, the likeliest first: by the mean log-probability a token, which no length wins or loses by.

    The likelihood is the model's own, at temperature 1 and with nothing forbidden, whatever the poems were drawn with;
    settings and errors are those of `write_ids`.
    """
    written = write_ids(model, tokenizer, [title] * n, **settings)
    likelihoods = mean_log_probabilities(
        model, tokenizer, title, written, settings.get("instruction")
    )
    best_first = sorted(range(n), key=lambda i: -likelihoods[i])
    return tokenizer.batch_decode([written[i] for i in best_first], skip_special_tokens=True)


@torch.inference_mode()
def mean_log_probabilities(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    title: str,
    written: list[list[int]],
    instruction: str | None = None,
) -> list[float]:
    """The tokens of poems (from `write_ids`) -> what the model gives each poem after its title, in nats a token."""
    prompt = tokenizer.apply_chat_template(ask(title, instruction), add_generation_prompt=True)[
        "input_ids"
    ]
    means = []
    for ids in written:
        row = torch.tensor([prompt + ids], device=model.device)
        logits = model(row[:, :-1], use_cache=False).logits[
            0, len(prompt) - 1 :
        ]  # (new tokens, vocabulary)
        means.append(
            -torch.nn.functional.cross_entropy(logits.float(), row[0, len(prompt) :]).item()
        )
    return means


def continue_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    text: str,
    *,
    new_tokens: int = 64,
    seed: int | None = None,
) -> str:
    """The text and what the model writes after it: a pretrained model's way of writing, which knows no titles."""
    ids = torch.tensor([encode_text(tokenizer, text)], device=model.device)
    limit = min(ids.shape[1] + new_tokens, model.config.max_position_embeddings)
    with _undisturbed(model, seed):
        written = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_length=limit, use_cache=True
        )
    return tokenizer.decode(written[0], skip_special_tokens=True)


def stream_poem(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    title: str,
    show: Callable[[str], object],
    **settings,
) -> str:
    """One title -> its poem, handed to `show` piece by piece while it is written; the pieces joined are the poem.

    The poem is the one that `write_poems` gives for the title alone; settings and errors are those of `write_ids`.
    """
    return write_poems(
        model, tokenizer, [title], streamer=_WholeCharacters(tokenizer, show), **settings
    )[0]


class _WholeCharacters(BaseStreamer):
    """Shows a new token at once, but bytes only when the run of them is over: what they decode to is then certain."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, show: Callable[[str], object]):
        self.tokenizer, self.show = tokenizer, show
        self.bytes = set(byte_token_ids(tokenizer))
        self.held: list[int] = []
        self.at_prompt = True

    def put(self, value: torch.Tensor) -> None:
        if self.at_prompt:  # `generate` hands over the prompt first
            self.at_prompt = False
            return
        self.held += value.flatten().tolist()
        if self.held[-1] not in self.bytes:
            self.end()

    def end(self) -> None:
        text = self.tokenizer.decode(self.held, skip_special_tokens=True)
        self.held = []
        if text:
            self.show(text)


@contextmanager
def _undisturbed(model: PreTrainedModel, seed: int | None) -> Iterator[None]:
    """Evaluation mode and random numbers of one's own inside; the caller's mode and random state after it."""
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
