"""What a stage of training can be told: our own options beside those of transformers and trl, and how they are read.

Knows dataclasses, YAML and the command line; knows nothing of what the options do. The dataclasses are the command
line, as in trl's scripts: `--config configs/<recipe>/<stage>.yaml` and any override after it.
"""

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from poet.errors import UserError, refuse


@dataclass
class StageArguments:
    """Options that all stages share. Paths left out are found beside `output_dir`, where the stage before left them."""

    optimizer: str = field(
        default="adamw",
        metadata={
            "help": "adamw, or muon: Muon for the hidden matrices, AdamW for the rest.",
            "choices": ["adamw", "muon"],
        },
    )
    muon_learning_rate: float = field(
        default=0.02, metadata={"help": "Learning rate of the hidden matrices under muon."}
    )
    muon_momentum: float = field(
        default=0.95, metadata={"help": "Momentum of the hidden matrices under muon."}
    )
    minutes: float | None = field(
        default=None,
        metadata={
            "help": "Train so long, whatever the machine: sets max_steps, and the learning rate ends at zero. Poems that the stage "
            "writes before are not counted."
        },
    )
    sample_title: str = field(
        default="春夜喜雨", metadata={"help": "Title of the poem that is shown at each evaluation."}
    )

    def __post_init__(self):
        if self.optimizer not in (
            "adamw",
            "muon",
        ):  # argparse looks at the command line alone, not at a recipe
            raise ValueError(f"optimizer is adamw or muon, not {self.optimizer}")
        if not self.sample_title.strip():
            raise ValueError("sample_title is empty, and a poem is shown for it at each evaluation")


@dataclass
class SamplingArguments(StageArguments):
    """How the checkpoint will write when nobody says otherwise."""

    temperature: float = field(
        default=1.0, metadata={"help": "Sampling temperature saved with the checkpoint."}
    )
    top_k: int = field(
        default=0, metadata={"help": "Only the k likeliest tokens are sampled; 0: all. Saved too."}
    )
    top_p: float = field(
        default=1.0, metadata={"help": "Only tokens that make up this probability. Saved too."}
    )


@dataclass
class ScoringArguments(StageArguments):
    """Options of the stages that trl trains: how it scores the vocabulary (poet/speed/scoring.py)."""

    compile_scoring: bool = field(
        default=False,
        metadata={
            "help": "Whether the scores of the vocabulary are computed by compiled code, where there is a C++ compiler: takes some "
            "seconds at first, and a fifth off each step. Not under GRPO's entropy_coef and DPO's use_weighting."
        },
    )


@dataclass
class PretrainArguments(SamplingArguments):
    """Options of pretraining: the model's size and how its text is read."""

    n_positions: int = field(
        default=256, metadata={"help": "Context, in tokens; also the length of a training block."}
    )
    n_embd: int = field(default=256, metadata={"help": "Width of the model."})
    n_layer: int = field(default=4, metadata={"help": "Transformer blocks."})
    n_head: int = field(default=4, metadata={"help": "Attention heads a block."})
    dropout: float = field(default=0.0, metadata={"help": "Dropout of embeddings and residuals."})
    tie_word_embeddings: bool = field(
        default=True, metadata={"help": "Whether output weights are the input embeddings."}
    )
    zero_init_projections: bool = field(
        default=False,
        metadata={"help": "Start with blocks that add nothing: their output projections are zero."},
    )
    tokenizer_name_or_path: str | None = field(
        default=None,
        metadata={"help": "A tokenizer of your own. Default: one token a character of the corpus."},
    )
    streaming: bool = field(
        default=False,
        metadata={"help": "Read the text as it trains, for a corpus larger than memory."},
    )
    shapes: list[dict] = field(
        default_factory=list,
        metadata={
            "help": "With --minutes: which options pay from which budget on, in 10^12 operations of matrix products "
            "(`teraflop`). What is given on the command line stays."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if self.n_head < 1 or self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd {self.n_embd} is not a multiple of n_head {self.n_head}: each head takes its share"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {self.dropout}")
        if len(self.sample_title) >= self.n_positions:
            raise ValueError(
                f"sample_title leaves no room for a poem in {self.n_positions} positions"
            )
        if not all(
            isinstance(row, dict) and isinstance(row.get("teraflop"), (int, float))
            for row in self.shapes
        ):
            raise ValueError(
                "each row of shapes is a table of options, with the number `teraflop` from which on it pays"
            )


@dataclass
class TuningArguments(SamplingArguments, ScoringArguments):
    """Options of fine-tuning and alignment: where the model comes from."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Checkpoint to start from. Default: what the stage before left beside OUTPUT_DIR."
        },
    )


@dataclass
class ThemeArguments(TuningArguments):
    """Options of the stages that learn poems for what is asked: a title, or words."""

    theme_fraction: float = field(
        default=0.0,
        metadata={
            "help": "Share of the poems that answer words of their own in place of their title."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.theme_fraction <= 1:
            raise ValueError(f"theme_fraction is a share from 0 to 1, not {self.theme_fraction}")


@dataclass
class FinetuningArguments(ThemeArguments):
    """Options of fine-tuning."""


@dataclass
class AuthorArguments:
    """Options of an author's voice: whose, and the size of the adapter (LoRA, arXiv:2106.09685), named as trl names it."""

    author: str | None = field(
        default=None,
        metadata={
            "help": "Train an adapter on this author's poems; in traditional or simplified characters."
        },
    )
    lora_r: int = field(
        default=0, metadata={"help": "Rank of the adapter's matrices; 0: no adapter."}
    )
    lora_alpha: int = field(
        default=16, metadata={"help": "What the adapter adds is scaled by lora_alpha / lora_r."}
    )
    lora_dropout: float = field(
        default=0.0, metadata={"help": "Dropout of what goes into the adapter."}
    )
    lora_target_modules: list[str] = field(
        default_factory=lambda: ["c_attn", "c_proj", "c_fc"],
        metadata={
            "help": "Names of the layers that it adds to: by default all matrices of GPT-2's blocks."
        },
    )

    def __post_init__(self):
        if bool(self.author) != (self.lora_r > 0):
            raise ValueError(
                "an author and a lora_r above 0 go together: python train_sft.py --config configs/tang/author.yaml "
                "--author 李白"
            )
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(
                f"lora_dropout must be at least 0 and below 1, not {self.lora_dropout}"
            )


@dataclass
class RoundsArguments(TuningArguments):
    """Options of a stage that learns from poems of its own, which it may write anew as it gets better."""

    rounds: int = field(
        default=1,
        metadata={
            "help": "Train so many times, each from what the one before has left and with new poems of its own."
        },
    )
    later_steps: int = field(
        default=0, metadata={"help": "`max_steps` of all rounds but the first. 0: the same."}
    )

    def __post_init__(self):
        super().__post_init__()
        if self.rounds < 1 or self.later_steps < 0:
            raise ValueError("rounds is at least 1, and later_steps at least 0")


@dataclass
class AlignmentArguments(RoundsArguments):
    """Options of alignment: pairs of the model's own poems beside those of the corpus."""

    sampled_titles: int = field(
        default=0,
        metadata={
            "help": "For so many titles the model writes poems, and the preference and their form pair them."
        },
    )
    samples_per_title: int = field(
        default=4, metadata={"help": "Poems that it writes for each of them."}
    )
    corruptions: int = field(
        default=0,
        metadata={
            "help": "Above 0: one regulated poem for each title, written under the mask of a form, against the same with so many "
            "characters that break its rules."
        },
    )
    corpus_pairs: bool = field(
        default=True, metadata={"help": "Whether the corpus's own pairs train too."}
    )

    def __post_init__(self):
        super().__post_init__()
        if self.corruptions > 20:
            raise ValueError(
                f"corruptions is at most 20, the characters of the shortest form, not {self.corruptions}"
            )
        if self.sampled_titles < 0 or self.corruptions < 0 or self.samples_per_title < 2:
            raise ValueError(
                "sampled_titles and corruptions are at least 0, and samples_per_title at least 2: a pair has two sides"
            )
        if (self.rounds > 1 or not self.corpus_pairs) and not self.sampled_titles:
            raise ValueError(
                "several rounds, or none of the corpus's pairs, need the model's own: set sampled_titles"
            )


@dataclass
class DistillationArguments(RoundsArguments, ThemeArguments):
    """Options of distillation: what the model writes for itself, and what it learns from that."""

    samples_per_round: int = field(
        default=1000,
        metadata={"help": "For so many titles it writes poems under the mask of a regulated form."},
    )
    max_lines: int = field(
        default=12,
        metadata={
            "help": "Lines of the longest of these poems; longer ones are rare, and each length is a form."
        },
    )
    old_style_poems: int = field(
        default=0,
        metadata={
            "help": "So many of the poets' poems in old style beside them: where a rule is broken already, it learns to go on as "
            "before."
        },
    )
    sampling_temperature: float = field(
        default=1.0,
        metadata={
            "help": "The temperature of that writing; below 1 the model's verse becomes narrower."
        },
    )
    rule_weight: float = field(
        default=0.0,
        metadata={
            "help": "Weight of keeping the rules at all, beside that of doing so as the teacher would."
        },
    )
    ending_weight: float = field(
        default=0.0,
        metadata={
            "help": "What is added to it where a line ends, at the word that rhymes and the mark."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if self.samples_per_round < 1 or not self.sampling_temperature > 0:
            raise ValueError("samples_per_round is at least 1, and sampling_temperature above 0")
        if min(self.old_style_poems, self.rule_weight, self.ending_weight) < 0:
            raise ValueError("old_style_poems, rule_weight and ending_weight are at least 0")


@dataclass
class RewardArguments(ScoringArguments):
    """Options of reinforcement: what earns. How it samples is said by `GRPOConfig`, and saved with the checkpoint."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Checkpoint to start from. Default: the fine-tuned one beside OUTPUT_DIR."
        },
    )
    rewards: list[str] = field(
        default_factory=lambda: ["well-formed"],
        metadata={
            "help": "Names from poet/alignment/rewards.py; their weights are `reward_weights`."
        },
    )
    form_baseline: bool = field(
        default=False,
        metadata={
            "help": "Whether a poem gains by its rules only what is above the batch's poems of its form: else the shortest form, "
            "the easiest to keep, is soon all that is written."
        },
    )


_LEAST = {
    "seed": 0, "per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, "gradient_accumulation_steps": 1,
    "n_positions": 2, "n_embd": 1, "n_layer": 1, "learning_rate": 0, "muon_learning_rate": 0, "weight_decay": 0, "adam_epsilon": 0,
}  # fmt: skip


def parse(*types: type, argv: list[str] | None = None):
    """Reads `--config FILE` and the overrides after it into one instance of each of `types`.

    Raises:
        UserError: for a missing or broken file, a value of the wrong kind, or a key that does not exist; the message
            names the nearest that does.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    known = {f.name: f for t in types for f in fields(t)}
    recipe, argv = _take_recipe(argv)
    config = {} if recipe is None else _read_config(recipe, known)
    if _says_yes("use_cpu", argv, config):
        os.environ["CUDA_VISIBLE_DEVICES"] = (
            ""  # before torch looks: all else is chosen for the CPU then
        )

    from trl import TrlParser

    from poet.speed import hardware

    for name in given(argv):
        if name not in known and name.removeprefix("no_") not in known and name != "help":
            raise UserError(f"there is no option --{name}{_nearest(name, known, '--')}")
    parser = TrlParser(types)
    parser.error = refuse
    # What is the same for every recipe, before the recipe and the command line have their say.
    parser.set_defaults_with_config(
        bf16=hardware.has_fast_bfloat16(),
        use_cpu=not hardware.has_accelerator(),
        activation_checkpointing=False,  # trl turns it on; these models are small
        gradient_checkpointing=False,  # its name before transformers 5.20
        logging_nan_inf_filter=False,  # a loss that is not a number must stop the run, not look like zero
        hub_strategy="end",
        report_to="none",
    )
    os.environ.update({name: str(value) for name, value in config.pop("env", {}).items()})
    parser.set_defaults_with_config(**config)
    try:
        found = parser.parse_args_and_config(args=argv)
    except (ValueError, TypeError) as error:
        raise UserError(f"the options do not fit together: {error}") from error
    for each in found:
        for name, least in _LEAST.items():
            if getattr(each, name, least) < least:
                raise UserError(f"{name} is at least {least}, not {getattr(each, name)}")
        for name in ("adam_beta1", "adam_beta2", "muon_momentum"):
            if not 0 <= getattr(each, name, 0) < 1:
                raise UserError(f"{name} is at least 0 and below 1, not {getattr(each, name)}")
        # Several GPUs are for `accelerate launch`: in one process Trainer takes DataParallel, and trl refuses.
        if getattr(each, "n_gpu", 1) > 1:
            each._n_gpu = 1
    return found


def given(argv: list[str] | None = None) -> list[str]:
    """The names of the options that stand on the command line."""
    words = sys.argv[1:] if argv is None else argv
    return [word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--")]


def _says_yes(name: str, argv: list[str], config: Mapping) -> bool:
    """Whether a switch is on: by the command line, with its value or without, or else by the recipe."""
    yes = ("true", "t", "yes", "y", "1")  # as transformers' parser reads them
    found = str(config.get(name, False)).lower() in yes
    for word, after in zip(argv, [*argv[1:], "--"]):
        option, _, value = word.partition("=")
        if option.replace("-", "_") == f"__{name}":
            found = (value or ("true" if after.startswith("--") else after)).lower() in yes
    return found


def _take_recipe(argv: list[str]) -> tuple[Path | None, list[str]]:
    """The file of `--config FILE` or `--config=FILE`, and the other words.

    trl's parser takes the first alone, and reads it in whatever encoding the machine prefers.
    """
    for index, word in enumerate(argv):
        if word == "--config":
            return Path(*argv[index + 1 : index + 2]), argv[:index] + argv[index + 2 :]
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")), argv[:index] + argv[index + 1 :]
    return None, argv


def read_yaml(path: Path) -> dict:
    """The keys and values of a recipe's file; a UserError where it holds something else."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold lines of `key: value`")
    return config


def _read_config(path: Path, known: Mapping[str, Field]) -> dict:
    if not path.is_file():
        recipes = sorted(
            p.name for p in Path("configs").glob("*") if (p / "pretrain.yaml").is_file()
        )
        raise UserError(
            f"there is no recipe file {path}; recipes here: {', '.join(recipes) or 'none'}"
        )
    config = read_yaml(path)
    for key, value in config.items():
        if key not in known and key != "env":
            raise UserError(f"{path}: there is no key {key}{_nearest(str(key), known)}")
        if key == "env" and not isinstance(value, dict):
            raise UserError(f"{path}: env must hold lines of `NAME: value`")
        if (
            value is None
            and known[key].default not in (None, MISSING)
            and "None" not in str(known[key].type)
        ):
            raise UserError(f"{path}: the key {key} has no value")
        if key in known:
            config[key] = _as_given(value, str(known[key].type), f"{path}: {key}")
    return config


def _as_given(value: Any, kind: str, where: str) -> Any:
    """A value of YAML as the command line would give it: whole numbers, and lists where there are lists alone."""
    lists = ("list", "List", "dict", "Dict", "Any")
    if (
        isinstance(value, (list, dict))
        and not where.endswith(" fsdp")
        and not any(word in kind for word in lists)
    ):
        raise UserError(f"{where} takes one value, not {value}")
    if isinstance(value, float) and kind in (
        "<class 'int'>",
        "int",
        "int | None",
        "typing.Optional[int]",
    ):
        if not value.is_integer():
            raise UserError(f"{where} is a whole number, not {value}")
        return int(value)
    if kind.startswith("list[") and value is not None and not isinstance(value, (list, dict)):
        return [value]
    return value


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; the nearest is {prefix}{near[0]}" if near else ""
