"""Compares the installed libraries with the versions that a patch was tested with.

It knows version numbers, names and signatures. It does not know what a patch does.
"""

import importlib
import inspect
from collections.abc import Callable

from packaging.specifiers import SpecifierSet

TESTED = {"torch": ">=2.13,<2.14", "transformers": ">=5.17,<5.25", "trl": ">=1.16,<1.17"}
"""Library -> the versions that the patches were tested with. A newer one switches them off."""


class CannotPatch(Exception):
    """A patch does not fit the installed library. The message says why, in a few words."""


def check_version(library: str) -> None:
    """Raises `CannotPatch` if the installed version is outside of `TESTED`."""
    installed = str(importlib.import_module(library).__version__)
    if not SpecifierSet(TESTED[library]).contains(installed, prereleases=True):
        raise CannotPatch(f"{library} {installed} is not tested, only {TESTED[library]} is")


def check_names(owner: object, *names: str) -> None:
    """Raises `CannotPatch` if the module or object has lost one of the names."""
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        label = getattr(owner, "__name__", type(owner).__name__)
        raise CannotPatch(f"{label} has no {', '.join(missing)}")


def check_signature(function: Callable, *names: str) -> None:
    """Raises `CannotPatch` if the parameters of `function` are not exactly `names`, in order."""
    found = tuple(inspect.signature(function).parameters)
    if found != names:
        raise CannotPatch(f"{function.__qualname__} takes other arguments: {', '.join(found)}")
