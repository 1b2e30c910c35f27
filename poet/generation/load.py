"""Loads checkpoint folders: model, tokenizer and generation defaults.

It knows the files in a checkpoint folder. It does not know training or the rules of poems.
"""

import json
import math
import re
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import metadata_load
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from poet.errors import UserError, first_line
from poet.generation.adapter import base_of, is_adapter, merge_adapter
from poet_tokenizer import SPECIAL_TOKENS, ask, byte_token_ids

Kind = Literal["continues text", "answers titles"]


def load(
    path: str | Path, base: str | Path | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Loads the model of a checkpoint folder. An adapter is merged into its base model.

    Args:
        path: A checkpoint folder or an adapter folder.
        base: The base model of an adapter. By default the adapter names its own base.

    Returns:
        The model (float32, evaluation mode) and its tokenizer.

    Raises:
        UserError: If the folder is missing or incomplete, or if its files do not fit together.
    """
    path = Path(path).expanduser()
    if is_adapter(path):
        base = base or base_of(path)
        model, tokenizer = _load_model(Path(base))
        return merge_adapter(path, model, tokenizer, base), tokenizer
    if base is not None:
        raise UserError(
            f"{path} is not an adapter: it has no adapter_config.json. "
            "`train_sft.py --author NAME` trains an adapter."
        )
    return _load_model(path)


def _load_model(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    if not path.exists():
        raise UserError(
            f"there is no checkpoint folder {path}. "
            "Give the folder of a finished stage, such as runs/tang/dpo."
        )
    if not path.is_dir():
        raise UserError(
            f"{path} is a file. "
            "A checkpoint is the folder that holds config.json and model.safetensors."
        )
    missing = [name for name in ("config.json", "tokenizer.json") if not (path / name).is_file()]
    if missing:
        raise UserError(
            f"{path} is not a checkpoint: it has no {' and no '.join(missing)}. "
            "Give the folder of a finished stage, such as runs/tang/dpo."
        )
    try:
        # transformers would ask in the terminal whether to execute the code of a checkpoint.
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        config._attn_implementation = "sdpa"  # a config.json may name code on the Hub
        model = AutoModelForCausalLM.from_pretrained(
            path, config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        ).eval()
    except RuntimeError as error:  # transformers names the shapes only in its log
        raise UserError(
            f"the weights in {path} do not have the shapes that its config.json gives. "
            "The two files come from different runs. "
            "Copy both from the folder where the model was trained."
        ) from error
    except Exception as error:  # each of the libraries that read the files has its own errors
        refuse_code(path, error)
        raise UserError(
            f"{path} is not a whole checkpoint ({first_line(error)}). "
            "Copy the whole folder, or train the stage again."
        ) from error
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) != rows:
        raise UserError(
            f"the tokenizer in {path} has {len(tokenizer)} tokens and the model {rows}. "
            "They come from different runs. "
            "Copy the tokenizer from the folder where the model was trained."
        )
    return model, tokenizer


def checkpoint_kind(path: str | Path) -> Kind:
    """Returns whether a checkpoint continues text (pretrained) or answers titles with poems.

    The content of the folder decides, never its name. First comes the record of the training
    run, then the model card, then the tokenizer: a chat template turns titles into prompts.

    Args:
        path: A checkpoint folder, an adapter folder, or a `checkpoint-N` in one of them.
    """
    folder = stage_folder(path)
    record, card = folder / "_arguments.json", folder / "README.md"
    if record.is_file():
        pretrained = json.loads(record.read_text(encoding="utf-8")).get("stage") == "pretrain"
    elif card.is_file() and (metadata := metadata_load(card)):
        pretrained = "pretrain" in metadata.get("tags", [])
    else:
        template = AutoTokenizer.from_pretrained(path, trust_remote_code=False).chat_template
        pretrained = template is None
    return "continues text" if pretrained else "answers titles"


def stage_folder(checkpoint: str | Path) -> Path:
    """Returns the folder of a stage: runs/tang/dpo, also for runs/tang/dpo/checkpoint-100."""
    folder = Path(checkpoint).resolve()
    return folder.parent if re.fullmatch(r"checkpoint-\d+", folder.name) else folder


def refuse_code(path: str | Path, error: Exception) -> None:
    """Raises a UserError if transformers would only load `path` with the code that is in it."""
    if "trust_remote_code" in str(error):
        raise UserError(
            f"{path} needs its own code: Python files in that folder. This project never runs such "
            "code. Give a model and a tokenizer that transformers knows."
        ) from error


def check_template(tokenizer: PreTrainedTokenizerFast, path: str | Path) -> None:
    """Raises a UserError without a chat template that turns a title into a prompt."""
    if tokenizer.chat_template is None:
        raise UserError(
            f"the tokenizer in {path} has no chat template. The template turns a title into a "
            "prompt. Write one into chat_template.jinja in that folder."
        )
    try:
        tokenizer.apply_chat_template(ask("春"), add_generation_prompt=True)
    except Exception as error:  # jinja2 and what the template calls have their own errors
        raise UserError(
            f"the chat template of the tokenizer in {path} cannot turn a title into a prompt "
            f"({first_line(error)}). Correct the template, or use another checkpoint."
        ) from error


def generation_defaults(
    tokenizer: PreTrainedTokenizerFast, n_positions: int, temperature: float = 1.0
) -> GenerationConfig:
    """Returns the settings from which both `pipeline` and `write` start.

    They are saved with the model. They sample whole characters up to the end mark. The limit is
    `max_length`, for prompt and poem together. With `max_new_tokens`, a long title could push
    the poem over the model's last position.

    Raises:
        UserError: If `generate` would refuse a setting later.
    """
    check_sampling(temperature)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer in {tokenizer.name_or_path} has no end mark (eos_token). "
            "Use a tokenizer that has one."
        )
    tags = {id for token, id in tokenizer.get_vocab().items() if token in SPECIAL_TOKENS}
    tags -= {tokenizer.eos_token_id}
    return GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,  # all tokens; the default of transformers is the 50 likeliest
        top_p=1.0,
        max_length=n_positions,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # The bytes of half a character would be shown as U+FFFD.
        suppress_tokens=[*sorted(tags), *byte_token_ids(tokenizer)],
    )


def check_sampling(temperature: float = 1.0, guidance_scale: float | None = None) -> None:
    """Raises a UserError for a setting that allows no sampling."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise UserError(f"temperature must be a number above 0, not {temperature}")
    if guidance_scale is not None and not 1 <= guidance_scale < math.inf:
        raise UserError(f"guidance must be at least 1, not {guidance_scale}. 1 means no guidance.")
