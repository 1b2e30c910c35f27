"""Records what a stage was started with, and compares it when the stage resumes.

Only options that change the result are compared. An upgrade may bring new options and defaults, or
remove an option. So an option that is missing in the earlier or in the new record is compared only
if a user gave it.
It knows options and versions. It does not know folders.
"""

import functools
import importlib.metadata
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import poet
from poet.files import ANOTHER_FOLDER, difference
from poet.training.options import Options

if TYPE_CHECKING:  # run.py imports this file, and should not wait for the library
    from transformers import TrainingArguments

_LIBRARIES = ("torch", "transformers", "trl", "tokenizers", "datasets", "accelerate", "peft")
_INPUTS = {"stage", "processes", "data", "model"}
# These change no weight.
_FREE_OPTIONS = set(
    "output_dir logging_dir report_to run_name project trackio_space_id trackio_bucket_id "
    "trackio_static_space_id push_to_hub hub_model_id hub_token hub_strategy hub_private_repo "
    "hub_always_push hub_revision disable_tqdm log_level log_level_replica log_on_each_node debug "
    "deepspeed_plugin distributed_state local_rank save_total_limit save_on_each_node "
    "resume_from_checkpoint restore_callback_states_from_checkpoint enable_jit_checkpoint data_dir "
    "model_name_or_path do_train do_eval do_predict per_device_eval_batch_size "
    "eval_accumulation_steps eval_do_concat_batches eval_use_gather_object batch_eval_metrics "
    "prediction_loss_only include_for_metrics include_num_input_tokens_seen label_names "
    "length_column_name skip_memory_metrics torch_empty_cache_steps ddp_timeout "
    "dataloader_pin_memory dataloader_prefetch_factor dataloader_multiprocessing_context "
    "dataset_num_proc log_completions log_completions_hub_repo num_completions_to_print "
    "log_unique_prompts".split()
)


def make_record(
    stage: str, options: Options, args: "TrainingArguments", inputs: dict[str, Any]
) -> dict[str, Any]:
    """Returns the options that change the result, with the versions of the libraries.

    Args:
        inputs: what the result also depends on, such as the data.
    """
    everything = {**args.to_dict(), **asdict(options), **inputs}
    record = {name: value for name, value in everything.items() if name not in _FREE_OPTIONS}
    record |= {"stage": stage, "processes": args.world_size, "versions": _versions()}
    record["given"] = sorted(getattr(options, "given", ()))  # in the recipe or on the command line
    if "data" in record:  # the corpus is known by its fingerprint
        record["data"] = {key: value for key, value in record["data"].items() if key != "corpus"}
    return json.loads(json.dumps(record, default=str))


def explain(there: dict, now: dict) -> str:
    """Returns what differs between two records and what to do, or "" if the result is the same.

    If only one record has an option, this option counts only if a user gave it. Otherwise another
    version of a library, or of this project, brought or removed it.
    """
    given = set(there.get("given", ())) | set(now.get("given", ()))
    both = (there.keys() & now.keys()) - _FREE_OPTIONS - {"given", "versions"}
    differing = [name for name in both if _differ(there[name], now[name], name in given)]
    added = set(now.get("given", ())) & now.keys() - there.keys() - _FREE_OPTIONS
    removed = set(there.get("given", ())) & there.keys() - now.keys() - _FREE_OPTIONS
    # An option that is 0 or empty works as if the record lacked it.
    one_sided = [name for name in added if now[name]] + [name for name in removed if there[name]]
    names = sorted([*differing, *one_sided])
    if not names:
        return ""
    changes = [text for name in names for text in _changes(name, there.get(name), now.get(name))]
    advice = ANOTHER_FOLDER
    changed = upgrades(there)
    if changed and not (given | _INPUTS) & set(names):
        words = " ".join(_as_words(name, there[name]) for name in names)
        advice = f"The default changed with {changed}. To go on, add `{words}`."
    return f"({'; '.join(changes[:3])}). {advice}"


def upgrades(there: dict) -> str:
    """Returns the libraries with another version than in a record, or an empty text."""
    earlier = there.get("versions", {})
    return ", ".join(
        f"{name} {earlier[name]} -> {version}"
        for name, version in _versions().items()
        if earlier.get(name, version) != version
    )


@functools.cache
def _versions() -> dict[str, str]:
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"poet": poet.__version__, **libraries}


def _differ(there: Any, now: Any, given: bool) -> bool:
    if given:
        return there != now
    if isinstance(there, dict) and isinstance(now, dict):  # another version has other keys
        return any(there[key] != now[key] for key in there.keys() & now.keys())
    return there != now and bool(there or now)  # nothing: None, false, "" or []


def _changes(name: str, there: Any, now: Any) -> list[str]:
    if isinstance(there, dict) and isinstance(now, dict):
        keys = [key for key in there.keys() & now.keys() if there[key] != now[key]]
        return [text for key in sorted(keys) for text in _changes(key, there[key], now[key])]
    return [difference(name, there, now)]


def _as_words(name: str, value: Any) -> str:
    return f"--{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
