"""Trains small language models on Chinese poems, and writes and judges poems with them.

    import poet

    model, tokenizer = poet.load("runs/tang/dpo")
    (poem,) = poet.write(model, tokenizer, "春夜喜雨", form="五言律詩", seed=7)
    print(poem, poet.judge(poem).regulated)

Every name is imported at its first use, so `import poet` itself imports no library.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# trl reports the start of each trainer to its makers. This variable switches that off. It is set
# here because huggingface_hub reads it during its own import.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from poet.generation.load import load
    from poet.generation.write import write
    from poet.prosody.judge import judge
    from poet.prosody.mask import FormLogitsProcessor
    from poet.prosody.request import read_form

    __version__: str

__all__ = ["FormLogitsProcessor", "__version__", "judge", "load", "read_form", "write"]

_MODULES = {
    "load": "poet.generation.load",
    "write": "poet.generation.write",
    "judge": "poet.prosody.judge",
    "read_form": "poet.prosody.request",
    "FormLogitsProcessor": "poet.prosody.mask",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'poet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("poet-from-scratch")
    except PackageNotFoundError:
        return "0.2.0"  # a clone that was not installed
