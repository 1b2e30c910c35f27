"""Merges a LoRA adapter into its base model, and completes the folder of a trained adapter.

It knows PEFT's files. It does not know how adapters are trained.
"""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from poet.errors import UserError, first_line


def is_adapter(folder: Path) -> bool:
    """Returns whether `folder` holds a PEFT adapter instead of a whole model."""
    return (folder / "adapter_config.json").is_file()


def base_of(adapter: Path) -> Path:
    """Returns the folder of the base model that an adapter names.

    If the run was moved, the base is the folder of the same name next to the adapter.

    Raises:
        UserError: If the adapter names no base, or if the base is not found.
    """
    try:
        config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
        named = Path(config["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{adapter}/adapter_config.json names no base model. Train the adapter again, "
            "or write the base model's folder into base_model_name_or_path there."
        ) from error
    # The first parent is for an adapter's folder, the second for its intermediate checkpoints.
    nearby = [folder / named.name for folder in adapter.resolve().parents[:2]]
    for folder in (named, *nearby):
        if folder.is_dir():
            return folder
    raise UserError(
        f"the adapter {adapter} names {named} as its base model, which is not here. "
        f"Copy the base model to {nearby[0]}."
    )


def merge_adapter(
    path: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, base: str | Path
) -> PreTrainedModel:
    """Returns `model` with the weights and generation defaults of the adapter in `path`.

    Args:
        path: The adapter's folder.
        model: The base model. It is changed.
        tokenizer: The tokenizer of the base model.
        base: The base model's folder, for error messages.

    Raises:
        UserError: If the adapter is broken, was trained on another model, or cannot be merged.
    """
    from peft import (
        PeftConfig,
        PeftModelForCausalLM,
        get_peft_model_state_dict,
        set_peft_model_state_dict,
    )
    from peft.tuners.tuners_utils import BaseTunerLayer

    try:
        weights = load_file(path / "adapter_model.safetensors")
        adapter_tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        adapted = PeftModelForCausalLM(model, PeftConfig.from_pretrained(str(path)))
        model.generation_config = GenerationConfig.from_pretrained(path)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise UserError(
            f"{path} is not a whole adapter of {base} ({first_line(error)}). "
            "Copy the whole folder, or train the adapter again."
        ) from error
    both_ends = (model.get_input_embeddings(), model.get_output_embeddings())
    is_tied = getattr(model.config, "tie_word_embeddings", False)
    if is_tied and any(isinstance(layer, BaseTunerLayer) for layer in both_ends):
        raise UserError(
            f"the adapter {path} changes the embeddings. {base} uses them as output weights too, "
            "so merging would change both. Train the adapter without wte and lm_head in its "
            "target_modules."
        )
    # PEFT drops weights that the model lacks and leaves weights that the adapter lacks at random.
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    if _shapes(expected) != _shapes(weights):
        raise UserError(
            f"the adapter {path} was trained on a model of another shape than {base}. "
            "Use the base model of the adapter's own run."
        )
    if adapter_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"the adapter {path} was trained with another tokenizer than that of {base}. "
            "Use the base model of the adapter's own run."
        )
    set_peft_model_state_dict(adapted, weights)
    return adapted.merge_and_unload()


def complete_adapter(folder: Path, model: PreTrainedModel) -> None:
    """Adds the generation defaults to a folder saved by PEFT, and removes paths of this machine."""
    model.generation_config.save_pretrained(folder)
    # PEFT's card holds such a path. The stage writes its own card when training is over.
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    base = Path(config["base_model_name_or_path"])
    if base.is_absolute():
        config["base_model_name_or_path"] = f"../{base.name}"
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _shapes(weights: dict) -> dict:
    return {name: weight.shape for name, weight in weights.items()}
