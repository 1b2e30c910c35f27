"""A stage's log history and facts -> the model card, README.md of its checkpoint.

Knows the Hub's card format; knows nothing of how the checkpoint was made beyond what it is told. A card is read far from
this machine: it holds no path, and no link that leads nowhere.
"""

import math
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from poet.files import write_text
from poet.training.checkpoints import arguments_of, log_history, round_folder
from poet.training.stages import STAGES

_RAW_INPUT, _CHAT_INPUT = '"春夜喜雨\\n"', '[{"role": "user", "content": "春夜喜雨"}]'
_OUTPUT = {"pretrain": '["generated_text"]'}  # a chat's answer is the last of its messages
_TANG = (
    "[chinese-poetry](https://github.com/chinese-poetry/chinese-poetry) (MIT licence), "
    "which has errors, gaps and variants of its own"
)
_CORPORA = {
    "sample": "The training poems are themselves the work of a language model that was trained on the Tang corpus; "
    "they show the journey and are no literature.",
    "tang": f"The training poems are the Tang corpus of {_TANG}.",
    "song": f"The training poems are the Song corpus of {_TANG}.",
    "tang+song": f"The training poems are the Tang and Song corpora of {_TANG}.",
}
_LIMITS = """\
- A small model: it has learned form, diction and the commonplaces of its corpus, hardly sense. A poem may break the rules
  of its form, lose sight of its title, or repeat itself.
- It may repeat lines of the poems that it was trained on. Look a line up before you call it new.
- It knows traditional characters and the world of its corpus, with the prejudices of that world. Nobody filtered what it
  writes."""
_NAMES = {"seconds": "training time"}


def write_card(folder: Path, log_history: list[dict], facts: dict[str, Any]) -> None:
    """Writes `folder`/README.md.

    Args:
        log_history: `trainer.state.log_history`; its last values are the results.
        facts: `stage` (pretrain, sft, author, dpo, grpo or distill), and where they are known `corpus` (a source's name or a Hub id),
            `author`, `base_model`, `dataset` (Hub ids), `license`, `parameters`, `seconds`, `device`. Anything else becomes a row
            of the table under its own name, `_` read as a space; a path is left out.
    """
    stage, corpus = facts["stage"], facts.get("corpus")
    results = measured(stage, log_history)
    header = ModelCardData(
        language="zh",
        license=facts.get("license") or ("mit" if corpus in _CORPORA else None),
        library_name="peft" if stage == "author" else "transformers",
        pipeline_tag="text-generation",
        tags=["poetry", "classical-chinese", stage] + (["trl"] if stage != "pretrain" else []),
        base_model=_hub_id(facts.get("base_model")),
        datasets=_hub_id(facts.get("dataset")) or _hub_id(corpus),
        model_name=f"poet-{stage}",
        eval_results=[
            EvalResult(
                task_type="text-generation",
                dataset_type=_hub_id(corpus) or "poetry",
                dataset_name=f"held-out part of {_shown(corpus) or 'the training corpus'}",
                metric_type=name.replace(" ", "_"),
                metric_value=round(value, 4),
                metric_name=name,
            )
            for name, value in results.items()
        ]
        or None,
    )
    told = {key: _shown(value) for key, value in facts.items() if key not in ("stage", "license")}
    told |= {"seconds": duration(facts["seconds"])} if "seconds" in facts else {}
    rows = {
        **results,
        **{
            _NAMES.get(key, key.replace("_", " ")): value
            for key, value in told.items()
            if value is not None
        },
    }
    text = [
        f"---\n{header.to_yaml()}\n---",
        f"# A poet in classical Chinese ({stage})",
        STAGES[stage].card,
        f"## Use\n\n```python\n{_usage(stage)}\n```",
        "## Training and results\n\n| | |\n|---|---|\n"
        + "\n".join(f"| {k} | {_cell(v)} |" for k, v in rows.items()),
        STAGES[stage].explained,
        *(
            ["![curves of loss and learning rate](curves.png)"]
            if (folder / "curves.png").is_file()
            else []
        ),
        f"## Limits\n\n{_LIMITS}" + (f"\n- {_CORPORA[corpus]}" if corpus in _CORPORA else ""),
    ]
    write_text(folder / "README.md", "\n\n".join(text) + "\n")


def add_evaluation(folder: Path, evaluation: str) -> None:
    """Puts the Markdown of an evaluation into `folder`/README.md, above its limits and in place of the one before."""
    above, heading, limits = (
        (folder / "README.md").read_text(encoding="utf-8").partition("## Limits")
    )
    above = above.partition("## Verse")[0].rstrip()
    write_text(folder / "README.md", f"{above}\n\n## Verse\n\n{evaluation}\n\n{heading}{limits}")


def measured(stage: str, log_history: list[dict]) -> dict[str, float]:
    """What the last evaluation found, by name; perplexity is a character's, so alignment's loss has none."""
    last = last_evaluation(log_history)
    if last is None:
        return {}
    if names := STAGES[stage].results:
        return {name: last[key] for name, key in names.items() if key in last}
    return {"evaluation loss": last["eval_loss"], "perplexity": math.exp(last["eval_loss"])}


def last_evaluation(log_history: list[dict]) -> dict[str, float] | None:
    """The log of the last evaluation, or None before the first."""
    return next((log for log in reversed(log_history) if "eval_loss" in log), None)


def seconds_trained(log_history: list[dict]) -> float:
    """Seconds of training up to the last log, evaluation and samples included, compilation too; 0 before the first."""
    return next((log["seconds"] for log in reversed(log_history) if "seconds" in log), 0.0)


def of_earlier_rounds(folder: Path) -> tuple[float, int]:
    """Seconds of training and steps of the rounds before the last, if `folder` holds the last of several."""
    rounds = arguments_of(folder).get("rounds", 1)
    histories = list(
        filter(None, (log_history(round_folder(folder, number)) for number in range(1, rounds)))
    )
    return sum(map(seconds_trained, histories)), sum(history[-1]["step"] for history in histories)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 48 s, 12 min 5 s, 1 h 3 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _usage(stage: str) -> str:
    given = _RAW_INPUT if stage == "pretrain" else _CHAT_INPUT
    taken = _OUTPUT.get(stage, '["generated_text"][-1]["content"]')
    loaded = 'from transformers import pipeline\n\npoet = pipeline("text-generation", model=".")'
    if stage == "author":
        loaded = (
            "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM, AutoTokenizer, pipeline\n\n"
            'base = AutoModelForCausalLM.from_pretrained("../sft")  # the fine-tuned model that it was trained on\n'
            'model = PeftModel.from_pretrained(base, ".").merge_and_unload()\n'
            'poet = pipeline("text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained("."))'
        )
    return f"{loaded}  # this folder, or its id on a hub\nprint(poet({given})[0]{taken})"


def _hub_id(value: Any) -> str | None:
    """`value` where it can only be an id on a hub, owner/name, and not a folder here."""
    known = (
        isinstance(value, str)
        and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", value)
        and not os.path.exists(value)
    )
    return value if known else None


def _shown(value: Any) -> Any:
    """`value` as a card may show it: a path becomes None."""
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
    return " ".join(str(value).split()).replace("|", "\\|")
