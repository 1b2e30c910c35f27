"""Writes the model card: the README.md of one checkpoint.

It knows the card format of the Hub. A card is read far from this machine, so it holds no path.
"""

import json
import math
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from poet.data.kind import Kind
from poet.data.shapes import POEMS
from poet.files import write_text
from poet.text import visible
from poet.training.checkpoints import arguments_of, log_history, round_folder
from poet.training.stages import STAGES

_EXAMPLE = "春夜喜雨"
_OUTPUT = {"pretrain": '["generated_text"]'}  # a chat's answer is the last of its messages
_TANG = (
    "[chinese-poetry](https://github.com/chinese-poetry/chinese-poetry) (MIT licence), "
    "which has errors, gaps and variants of its own"
)
_CORPORA = {
    "sample": "The training poems were written by a language model that was trained on the Tang "
    "corpus. They serve as an example and are no literature.",
    "tang": f"The training poems are the Tang corpus of {_TANG}.",
    "song": f"The training poems are the Song corpus of {_TANG}.",
    "tang+song": f"The training poems are the Tang and Song corpora of {_TANG}.",
}
_LIMITS_OF_VERSE = """\
- The model is small. It has learned the form and the diction of its corpus, but its poems make
  little sense. A poem may break the rules of its form, forget its title, or repeat itself.
- It may repeat lines of the poems that it was trained on. Search for a line before you call it new.
- It knows {script} characters and the world of its corpus, with the prejudices of that world.
  Nobody filtered its output."""
_LIMITS = """\
- The model is small. Its {texts} may make little sense, state what is false, or repeat themselves.
- It may repeat lines of the texts that it was trained on. Search for a line before you call it new.
- It knows the characters and the world of its corpus, with the prejudices of that world. Nobody
  filtered its output."""
_VERSIONS = """\
The model needs transformers 4.43 or newer. Versions before 5.17 may sample at another temperature
than generation_config.json says. With those versions, pass `temperature` to `poet`."""
_NAMES = {"seconds": "training time"}


def write_card(
    folder: Path,
    log_history: list[dict],
    facts: dict[str, Any],
    kind: Kind | None = None,
    prompt: str = _EXAMPLE,
) -> None:
    """Writes `folder`/README.md.

    Args:
        log_history: `trainer.state.log_history`. The results are its last values.
        facts: Rows of the table, by name. `stage` is required. `corpus` is the name of a source or
            a Hub id, and `base_model` is a Hub id. Paths and None are left out.
        kind: what the texts are.
        prompt: an example of an input.
    """
    kind = kind or Kind()
    stage, corpus = facts["stage"], facts.get("corpus")
    info, is_poems = STAGES[stage].told_of(kind), kind.shape == POEMS
    tags = ["poetry"] * is_poems + ["classical-chinese"] * kind.verse
    given: Any = [{"role": "user", "content": prompt}]
    if stage == "pretrain":
        given = f"{prompt}\n" if is_poems else prompt
    results = measured(stage, log_history)
    header = ModelCardData(
        language=kind.code,
        license="mit" if corpus in _CORPORA else None,
        library_name="peft" if stage == "author" else "transformers",
        pipeline_tag="text-generation",
        tags=[*tags, stage] + (["trl"] if stage != "pretrain" else []),
        base_model=_hub_id(facts.get("base_model")),
        datasets=_hub_id(corpus),
        model_name=f"poet-{stage}",
        widget=[{"text": given} if stage == "pretrain" else {"messages": given}],
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=_hub_id(corpus) or ("poetry" if is_poems else "text"),
                dataset_name=f"held-out part of {_shown(corpus) or 'the training corpus'}",
                metric_type=name.replace(" ", "_"),
                metric_value=round(value, 4),
                metric_name=name,
            )
            for name, value in results.items()
        ]
        or None,
    )
    rows: dict[str, Any] = dict(results)
    for key, fact in facts.items():
        value = duration(fact) if key == "seconds" else _shown(fact)
        if key != "stage" and value is not None:
            rows[_NAMES.get(key, key.replace("_", " "))] = value
    text = [
        f"---\n{header.to_yaml()}\n---",
        f"# {_title(kind)} ({stage})",
        info.card,
        f"## Use\n\n```python\n{_usage(stage, given)}\n```\n\n{_VERSIONS}",
        "## Training and results\n\n| | |\n|---|---|\n"
        + "\n".join(f"| {k} | {_cell(v)} |" for k, v in rows.items()),
        info.explained,
        *(
            ["![curves of loss and learning rate](curves.png)"]
            if (folder / "curves.png").is_file()
            else []
        ),
        f"## Limits\n\n{_limits(kind)}" + (f"\n- {_CORPORA[corpus]}" if corpus in _CORPORA else ""),
    ]
    write_text(folder / "README.md", "\n\n".join(text) + "\n")


def _title(kind: Kind) -> str:
    return "A poet in classical Chinese" if kind.verse else f"A language model for {kind.full_name}"


def _limits(kind: Kind) -> str:
    script = kind.script.partition(" ")[0]
    return (_LIMITS_OF_VERSE if kind.verse else _LIMITS).format(script=script, texts=kind.texts)


def add_evaluation(folder: Path, evaluation: str, heading: str = "Verse") -> None:
    """Puts an evaluation in Markdown into `folder`/README.md, above the limits.

    It replaces an earlier evaluation.
    """
    above, below, limits = (folder / "README.md").read_text(encoding="utf-8").partition("## Limits")
    above = above.partition(f"## {heading}\n")[0].rstrip()
    text = f"{above}\n\n## {heading}\n\n{evaluation}\n\n{below}{limits}"
    write_text(folder / "README.md", text)


def measured(stage: str, log_history: list[dict]) -> dict[str, float]:
    """Returns the results of the last evaluation by name. A DPO loss has no perplexity."""
    last = last_evaluation(log_history)
    if last is None:
        return {}
    if names := STAGES[stage].results:
        return {name: last[key] for name, key in names.items() if key in last}
    return {"evaluation loss": last["eval_loss"], "perplexity": math.exp(last["eval_loss"])}


def last_evaluation(log_history: list[dict]) -> dict[str, float] | None:
    """Returns the log of the last evaluation, or None before the first."""
    return next((log for log in reversed(log_history) if "eval_loss" in log), None)


def seconds_trained(log_history: list[dict]) -> float:
    """Returns the seconds of training up to the last log, or 0 before the first.

    They include compilation, evaluations and samples.
    """
    return next((log["seconds"] for log in reversed(log_history) if "seconds" in log), 0.0)


def of_earlier_rounds(folder: Path) -> tuple[float, int]:
    """Returns the seconds and steps of the earlier rounds, if `folder` is the last of several."""
    seconds, steps = 0.0, 0
    for number in range(1, arguments_of(folder).get("rounds", 1)):
        if history := log_history(round_folder(folder, number)):
            seconds += seconds_trained(history)
            steps += history[-1]["step"]
    return seconds, steps


def duration(seconds: float) -> str:
    """Returns seconds in words: 48 s, 12 min 5 s, 1 h 3 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _usage(stage: str, given: Any) -> str:
    taken = _OUTPUT.get(stage, '["generated_text"][-1]["content"]')
    loaded = 'from transformers import pipeline\n\npoet = pipeline("text-generation", model=".")'
    if stage == "author":
        loaded = (
            "from peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline\n\n"
            'base = AutoModelForCausalLM.from_pretrained("../sft")  # the fine-tuned model\n'
            'model = PeftModel.from_pretrained(base, ".").merge_and_unload()\n'
            'tokenizer = AutoTokenizer.from_pretrained(".")\n'
            'poet = pipeline("text-generation", model=model, tokenizer=tokenizer)'
        )
    call = f"print(poet({json.dumps(given, ensure_ascii=False)})[0]{taken})"
    return f"{loaded}  # this folder, or its id on a hub\n{call}"


def _hub_id(value: Any) -> str | None:
    """Returns `value` if it can only be an id on a hub, owner/name, and not a folder."""
    known = (
        isinstance(value, str)
        and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", value)
        and not os.path.exists(value)
    )
    return value if known else None


def _shown(value: Any) -> Any:
    """Returns `value` as a card may show it: None instead of a path."""
    is_path = isinstance(value, os.PathLike) or (
        isinstance(value, str)
        and (
            os.path.isabs(value)
            or os.path.exists(value)
            or re.match(r"[A-Za-z]:[\\/]|[.~]{1,2}[\\/]", value) is not None
        )
    )
    return None if is_path else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    # A name of the data may hold tags, links or terminal escapes.
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", visible(" ".join(str(value).split())))
