"""Makes poet.ipynb from poet.py: executes every cell and stores the outputs.

    pip install -c constraints.txt -e ".[book]"
    python notebooks/make.py

It takes about five minutes on two cores. The cells run in a new kernel and in a temporary copy of
the repository, so nothing of an earlier run is used. Nothing is stored that differs from run to
run without a reason, such as times and random ids.
"""

import argparse
import os
import re
import shutil
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
SOURCE, NOTEBOOK = FOLDER / "poet.py", FOLDER / "poet.ipynb"
NOT_COPIED = shutil.ignore_patterns(".*", "runs", "__pycache__", "*.egg-info", "site", "weights.js")


def read_source(path: Path = SOURCE) -> NotebookNode:
    """Returns the notebook without outputs."""
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:02}"
    notebook.metadata = {
        "accelerator": "GPU",  # Colab then offers one
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Runs all cells in a new kernel, in a copy of the repository that `folder` gets.

    The home folder and the settings of Jupyter and IPython are empty folders. The packages are
    those of this Python.
    """
    root, home = folder / "poet", folder / "home"
    shutil.copytree(FOLDER.parent, root, ignore=NOT_COPIED)
    own = {name: str(home / name) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "HF_HOME")}
    environment = os.environ | own | {"HOME": str(home)}
    environment.pop("PYTHONPATH", None)  # it could name another copy of the project
    home.mkdir()
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(root / "notebooks")}},
    )
    client.execute(env=environment)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    notebook = read_source()
    metadata = notebook.metadata.copy()
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    notebook.metadata = metadata  # without the version of Python, which nbclient adds
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = re.sub(r" +$", "", output.text, flags=re.MULTILINE)
    nbformat.write(notebook, NOTEBOOK)
    print(f"{NOTEBOOK.name} has new outputs. Check that the translations in poet.py still fit.")


if __name__ == "__main__":
    main()
