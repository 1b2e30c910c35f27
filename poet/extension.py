"""Loads a function that a user names as `module:function`.

It knows how Python imports modules; it does not know what the function is for.
"""

import ast
import hashlib
import importlib
import inspect
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poet.errors import UserError

_recipe_folders: list[str] = []


def search_in(recipe_folder: str | Path) -> None:
    """Lets `load_function` look in the folder of a recipe too, after the working folder."""
    _recipe_folders.append(os.path.abspath(recipe_folder))


def load_function(name: str, kind: str, folder: str | None = None) -> Callable[..., Any]:
    """Returns the function `module:function`.

    The module may be installed, or a file in the working folder or in the recipe's folder.

    Args:
        name: For example `my_rules:short`, for the function `short` of my_rules.py.
        kind: The role of the function, for error messages: "preference" or "reward".
        folder: One more folder to look in.

    Raises:
        UserError: There is no such module or function.
    """
    module, _, function = name.partition(":")
    folders = list(dict.fromkeys([os.getcwd(), *_recipe_folders, *([folder] if folder else [])]))
    sys.path += [path for path in folders if path not in sys.path]
    importlib.invalidate_caches()  # the file may be newer than the last look into its folder
    try:
        loaded = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise UserError(
            f"cannot load the {kind} {name}: {error}. Check the names of the module and the "
            f"function. The module may be a file in {' or '.join(folders)}."
        ) from error
    if not callable(loaded):
        raise UserError(f"the {kind} {name} is not a function. Name one as module:function.")
    return loaded


def describe(name: str, kind: str, folder: str | None = None) -> dict[str, str]:
    """Returns a checksum of a function ("code"), and the "folder" from which it was imported.

    The checksum changes with the code of the function, but not with its comments or its layout.
    """
    function = load_function(name, kind, folder)
    try:
        code = ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (TypeError, OSError, SyntaxError):  # a function without Python code of its own
        code = ""
    module = sys.modules[name.partition(":")[0]]
    file = Path(os.path.abspath(getattr(module, "__file__", None) or "built-in"))
    packages = module.__name__.count(".") + hasattr(module, "__path__")
    return {
        "code": hashlib.sha256(code.encode()).hexdigest()[:16],
        "folder": str(file.parents[packages]),
    }
