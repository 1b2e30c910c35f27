"""Defines the options of each training script, one flat dataclass per script.

The learning rate, the batch size and other common options belong to the libraries. They are in
TrainingArguments, SFTConfig, DPOConfig and GRPOConfig. checks.py refuses values that cannot work.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

_MODEL = (
    "Checkpoint to start from. Default: the checkpoint of the stage before, next to output_dir."
)
_MUON = (
    "Learning rate of Muon for the hidden matrices; AdamW trains the other weights at "
    "learning_rate. Default: AdamW trains all weights."
)
_MINUTES = "Train for this many minutes. Sets max_steps, and the learning rate ends at zero."
_SAMPLED = (
    "Number of characters that a step scores, instead of all. The last 15 % of the steps score "
    "all. 0: all steps do."
)
_PLAIN = "Use transformers, TRL and PEFT without any of the speed-ups in poet/speed."

WHOLE_SHARE = 0.15  # the last part of the steps, which scores the whole vocabulary


def option(default: Any, text: str) -> Any:
    """Returns a dataclass field with a default value and a line of help."""
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


class StageOptions:
    """Gives a stage values for the options that only other stages have.

    It is not a dataclass, so the command line of a stage offers only what its own class defines.
    """

    model_name_or_path: str | None = None
    author: str | None = None
    sampled_vocabulary: int = 0
    embedding_weight_decay: float = 0.0
    muon_learning_rate: float | None = None


@dataclass
class PretrainOptions(StageOptions):
    """Options of train_pretrain.py: the size of the model, and how the text is read."""

    stage: ClassVar[str] = "pretrain"
    n_positions: int = option(256, "Context length in tokens, and the length of a training block.")
    n_embd: int = option(256, "Width of the model.")
    n_layer: int = option(4, "Number of transformer blocks.")
    n_head: int = option(4, "Number of attention heads per block.")
    dropout: float = option(0.0, "Dropout of the embeddings and of the residual stream.")
    tie_word_embeddings: bool = option(True, "Use the input embeddings as output weights too.")
    tokenizer_name_or_path: str | None = option(
        None, "Tokenizer to use. Default: a new one with one token per character of the corpus."
    )
    streaming: bool = option(False, "Read the text from disk during training.")
    sampled_vocabulary: int = option(0, _SAMPLED)
    embedding_weight_decay: float = option(
        0.0, "Weight decay of the embeddings, with Muon. weight_decay is for the hidden matrices."
    )
    shapes: list[dict] = option(
        [],
        "For --minutes: rows of options. The last row applies whose `teraflop` (10^12 operations) "
        "this machine can compute in that time. Options on the command line win.",
    )
    muon_learning_rate: float | None = option(None, _MUON)
    minutes: float | None = option(None, _MINUTES)
    plain: bool = option(False, _PLAIN)


@dataclass
class SFTOptions(StageOptions):
    """Options of train_sft.py: the start model, themes, and an author for an adapter."""

    stage: ClassVar[str] = "sft"
    model_name_or_path: str | None = option(None, _MODEL)
    theme_fraction: float = option(
        0.0, "Fraction of the prompts that are words from the poem instead of its title."
    )
    author: str | None = option(
        None, "Train an adapter (LoRA) on this author's poems instead of the whole model."
    )
    muon_learning_rate: float | None = option(None, _MUON)
    minutes: float | None = option(None, _MINUTES)
    plain: bool = option(False, _PLAIN)


@dataclass
class DPOOptions(StageOptions):
    """Options of train_dpo.py: the start model, and pairs of poems that the model writes."""

    stage: ClassVar[str] = "dpo"
    model_name_or_path: str | None = option(None, _MODEL)
    sampled_titles: int = option(
        0, "Number of titles for which the model writes poems that become pairs."
    )
    corruptions: int = option(
        0,
        "Above 0: the pairs are the model's own regulated poems and copies with this many wrong "
        "characters. They replace the pairs of the corpus.",
    )
    minutes: float | None = option(None, _MINUTES)
    plain: bool = option(False, _PLAIN)


@dataclass
class GRPOOptions(StageOptions):
    """Options of train_grpo.py. GRPOConfig holds the temperature of the samples."""

    stage: ClassVar[str] = "grpo"
    model_name_or_path: str | None = option(None, _MODEL)
    rewards: list[str] = option(
        ["well-formed"],
        "Names from poet/alignment/rewards.py, or module:function. Weights: reward_weights.",
    )
    minutes: float | None = option(None, _MINUTES)
    plain: bool = option(False, _PLAIN)


@dataclass
class DistillOptions(StageOptions):
    """Options of train_distill.py: the rounds, and the poems that each of them uses."""

    stage: ClassVar[str] = "distill"
    model_name_or_path: str | None = option(None, _MODEL)
    rounds: int = option(
        1,
        "Number of rounds. Each starts from the model of the round before and writes new poems. "
        "A round after the first takes half of max_steps.",
    )
    samples_per_round: int = option(1000, "Poems that the model writes under the mask per round.")
    muon_learning_rate: float | None = option(None, _MUON)
    minutes: float | None = option(None, _MINUTES)
    plain: bool = option(False, _PLAIN)


Options = PretrainOptions | SFTOptions | DPOOptions | GRPOOptions | DistillOptions
