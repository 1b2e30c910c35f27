"""Tests of the names that `import poet` offers."""

import subprocess
import sys
import tomllib

import pytest
from helpers import ROOT

import poet


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert poet.__version__ == project["version"]


@pytest.mark.parametrize("name", sorted({*poet.__all__} - {"__version__"}))
def test_every_public_name_can_be_called_and_is_listed(name):
    assert callable(getattr(poet, name)) and name in dir(poet)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'poet' has no attribute 'compose'"):
        poet.compose  # noqa: B018


def test_importing_poet_imports_no_library():
    code = "import poet, sys; print(sys.modules.keys() & {'torch', 'transformers', 'opencc'})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
