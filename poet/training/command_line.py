"""Reads the command line of a training script: `--config RECIPE.yaml` and options after it.

It knows dataclasses, YAML and argparse. It does not know the effect of an option. Each field of a
dataclass is an option, as in TRL's own scripts.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

from poet import extension
from poet.errors import UserError, first_line, nearest, refuse, shorten

T = TypeVar("T")
_YES = ("true", "t", "yes", "y", "1")  # as transformers' parser reads them

# The same in every recipe. A recipe or the command line may still change them.
_DEFAULTS = {
    "activation_checkpointing": False,  # TRL turns it on, and these models are small
    "gradient_checkpointing": False,  # its name before transformers 5.20
    "logging_nan_inf_filter": False,  # a loss of NaN must stop the run, not look like zero
    "hub_strategy": "end",
    "report_to": "none",
    "seed": 0,
    "adam_beta2": 0.95,
    "lr_scheduler_type": "linear",
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 32,
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "save_total_limit": 2,
}
_STAGE_DEFAULTS: dict[str, dict[str, Any]] = {
    "pretrain": {"dataloader_drop_last": True},  # one shape, so one compilation
    "sft": {"train_sampling_strategy": "group_by_length"},  # less padding
    "dpo": {"train_sampling_strategy": "group_by_length", "eval_on_start": True},
    "distill": {"train_sampling_strategy": "group_by_length", "eval_on_start": True},
}


def parse(*types: type, argv: list[str] | None = None) -> tuple[Any, ...]:
    """Returns one instance of each of `types`, read from `--config FILE` and the options after it.

    Raises:
        UserError: a file is missing or broken, a value has the wrong kind, or an option does not
            exist. The message names the nearest option.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    known = {f.name: f for t in types for f in fields(t)}
    removed = {key: value for t in types for key, value in getattr(t, "removed", {}).items()}
    if {"-h", "--help", "--help-all"} & set(argv):
        _show_help(types, whole="--help-all" in argv)
    recipe, argv = _take_recipe(argv)
    config = {} if recipe is None else _read_config(recipe, known, removed)
    if recipe is not None:
        extension.search_in(recipe.parent)
    if _is_on("use_cpu", argv, config):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # must be set before torch looks for a GPU

    from trl import TrlParser

    from poet import device
    from poet.training import checks

    for name in given(argv):
        if name not in known and name.removeprefix("no_") not in known:
            raise UserError(f"there is no option --{shorten(name)}{_nearest(name, known, '--')}")
    parser = TrlParser(types)  # type: ignore[arg-type]  # no class has the type that TRL names
    parser.error = refuse  # type: ignore[method-assign]
    stage = next((t.stage for t in types if hasattr(t, "stage")), "")
    if stage:
        parser.set_defaults_with_config(
            bf16=device.has_fast_bfloat16(),
            use_cpu=not device.has_accelerator(),
            **_DEFAULTS,
            **_STAGE_DEFAULTS.get(stage, {}),
        )
    parser.set_defaults_with_config(**config)
    try:
        parsed = parser.parse_args_and_config(args=argv)
    except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
        raise UserError(f"the options do not fit together: {first_line(error)}") from error
    for holder in parsed:
        _expand_home(holder)
        names = (name if name in known else name.removeprefix("no_") for name in given(argv))
        holder.given = {*names, *config}
        # One process uses one GPU: Trainer would take DataParallel, which TRL refuses. Several
        # GPUs are for `accelerate launch`.
        if getattr(holder, "n_gpu", 1) > 1:
            holder._n_gpu = 1
    if stage:
        checks.check_options(*parsed)
    return parsed


def given(argv: list[str] | None = None) -> list[str]:
    """Returns the names of the options on the command line."""
    words = sys.argv[1:] if argv is None else argv
    return [word[2:].split("=")[0].replace("-", "_") for word in words if word.startswith("--")]


def read_yaml(path: Path) -> dict:
    """Returns the keys and values of a recipe's file.

    Raises:
        UserError: the file is not YAML, or does not hold `key: value` lines.
    """
    return _parse_yaml(path)[0]


def _parse_yaml(path: Path) -> tuple[dict, dict]:
    """Returns the values of a file as YAML understands them, and as the file spells them."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        values, spelled = (yaml.load(text, loader) for loader in (yaml.SafeLoader, yaml.BaseLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not YAML: {shorten(error)}. Correct the file.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold lines of `key: value`")
    return values, {key: spelled.get(key) for key in values}


def recipe_numbers(kind: type[T], path: Path) -> tuple[T, dict[str, Any]]:
    """Returns a recipe's file in two ways: the options of `kind`, and all keys with their values.

    Both have the defaults of this project where the file has no value.
    """
    values, spelled = _parse_yaml(path)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in values:
            values[field.name] = _as_text(values[field.name], spelled[field.name], str(field.type))
    numbers = {**_DEFAULTS, **values}
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in numbers.items() if name in names}), numbers


def _show_help(types: tuple[type, ...], whole: bool) -> None:
    """Prints the options of this project and exits. `whole` adds those of the libraries."""
    script = sys.modules["__main__"].__doc__ or ""
    ours = [t for t in types if t.__module__.startswith("poet.")]
    theirs = [t for t in types if t not in ours]
    print(script.strip(), "\n\noptions of this script:")
    print(
        "  --config FILE\n      File with options. Options on the command line replace its values."
    )
    for item in (f for t in ours for f in fields(t)):
        default = [] if item.default is MISSING else item.default
        print(f"  --{item.name} (default: {default})\n      {item.metadata.get('help', '')}")
    for library in theirs:
        print(f"\nEvery field of {library.__name__} is an option too (--help-all lists them).")
    if whole:
        from trl import TrlParser

        TrlParser(theirs).print_help()  # type: ignore[arg-type]
    sys.exit(0)


def _is_on(name: str, argv: list[str], config: Mapping) -> bool:
    """Returns whether a switch is on, by the command line or else by the recipe."""
    on = str(config.get(name, False)).lower() in _YES
    for word, after in zip(argv, [*argv[1:], "--"], strict=False):
        key, _, value = word.partition("=")
        if key.replace("-", "_") == f"__{name}":
            on = (value or ("true" if after.startswith("--") else after)).lower() in _YES
    return on


def _take_recipe(argv: list[str]) -> tuple[Path | None, list[str]]:
    """Returns the file of `--config FILE` or `--config=FILE`, and the other words.

    TRL's parser takes only the first form, and reads the file in the encoding of the machine.
    """
    for index, word in enumerate(argv):
        if word == "--config":
            if index + 1 == len(argv):
                raise UserError("--config needs a file, like configs/sample/pretrain.yaml")
            return Path(argv[index + 1]).expanduser(), argv[:index] + argv[index + 2 :]
        if word.startswith("--config="):
            file = Path(word.removeprefix("--config=")).expanduser()
            return file, argv[:index] + argv[index + 1 :]
    return None, argv


def _read_config(path: Path, known: Mapping[str, Field], removed: Mapping[str, Any]) -> dict:
    if not path.is_file():
        recipes = sorted(p.parent.name for p in Path("configs").glob("*/data.yaml"))
        names = ", ".join(recipes) or "none"
        raise UserError(f"there is no recipe file {path}. Recipes in configs/: {names}.")
    config, spelled = _parse_yaml(path)
    for key, value in removed.items():
        if config.pop(key, value) != value:
            raise UserError(
                f"{path}: the key {key} is gone, because its value is now always {value}. Remove "
                "the key from the file."
            )
    for key, value in config.items():
        if key not in known:
            raise UserError(f"{path}: there is no key {shorten(key)}{_nearest(str(key), known)}")
        kind = str(known[key].type)
        if value is None and known[key].default not in (None, MISSING) and "None" not in kind:
            raise UserError(f"{path}: the key {key} has no value")
        value = _as_text(value, spelled[key], kind)
        config[key] = _as_on_the_command_line(key, value, kind, path)
    return config


def _as_text(value: Any, spelled: Any, kind: str) -> Any:
    """Returns the spelling of a value if the option takes text: `lines_column: 1` is "1"."""
    takes_text = kind in ("<class 'str'>", "str", "str | None", "typing.Optional[str]")
    return spelled if takes_text and value is not None and isinstance(spelled, str) else value


def _as_on_the_command_line(key: str, value: Any, kind: str, path: Path) -> Any:
    """Returns a value of YAML as the command line would give it: 2.0 as 2, a list for one item."""
    takes_many = any(word in kind for word in ("list", "List", "dict", "Dict", "Any"))
    if isinstance(value, (list, dict)) and not takes_many and key != "fsdp":
        raise UserError(f"{path}: {key} takes one value, not {shorten(value)}")
    is_whole = kind in ("<class 'int'>", "int", "int | None", "typing.Optional[int]")
    if isinstance(value, float) and is_whole:
        if not value.is_integer():
            raise UserError(f"{path}: {key} must be a whole number, not {shorten(value)}")
        return int(value)
    if kind.startswith("list[") and value is not None and not isinstance(value, (list, dict)):
        return [value]
    return value


def _expand_home(holder: Any) -> None:
    """Replaces `~` in options that name files. No shell does that in YAML or after `--name=`."""
    for name, value in vars(holder).items():
        if isinstance(value, str) and re.fullmatch(
            r".*_(dir|path|checkpoint)|corpus|pretrain|sft|dpo", name
        ):
            setattr(holder, name, os.path.expanduser(value))


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    near = nearest(name, known)
    return f"; the nearest is {prefix}{near}" if near else "; see --help"
