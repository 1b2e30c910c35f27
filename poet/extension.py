"""Loads a function that a user names as `module:function`.

It knows how Python imports modules; it does not know what the function is for.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from poet.errors import UserError


def load_function(name: str, kind: str) -> Callable[..., Any]:
    """Returns the function `module:function`. The module may be a file in the working folder.

    Args:
        name: For example `my_rules:short`, for the function `short` of my_rules.py.
        kind: The role of the function, for error messages: "preference" or "reward".

    Raises:
        UserError: There is no such module or function.
    """
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        loaded = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        raise UserError(
            f"cannot load the {kind} {name}: {error}. "
            "Check the names of the module and the function."
        ) from error
    if not callable(loaded):
        raise UserError(f"the {kind} {name} is not a function. Name one as module:function.")
    return loaded
