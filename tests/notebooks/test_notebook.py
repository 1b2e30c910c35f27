"""The notebook: its source and its outputs fit together, and it runs from top to bottom.

The slow test runs it in a fresh environment. It has a copy of the repository without runs, a new
kernel, and an empty home folder. The installed packages are those of the tests, so the first cell
downloads nothing.
"""

import importlib.util
import re
from urllib.parse import urlsplit

import jupytext
import nbformat
import pytest
from helpers import ROOT

FOLDER = ROOT / "notebooks"
NOTEBOOK = nbformat.read(FOLDER / "poet.ipynb", as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
MARKDOWN = "\n\n".join(cell.source for cell in NOTEBOOK.cells if cell.cell_type == "markdown")
# A path of some machine, or an address.
PRIVATE = r"(?<![\w./])/(?:[\w.-]+/)+|[A-Za-z]:\\|~/|\b\w+://|localhost|\b\d+(?:\.\d+){3}\b"


def outputs(notebook) -> str:
    """Returns the text of all outputs."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    return "\n".join(o.get("text") or o.data["text/plain"] for o in outputs)


def check_executed(notebook) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error", output.traceback
            assert output.get("name") != "stderr", output.text


def test_the_notebook_holds_the_cells_of_its_source():
    source = jupytext.read(FOLDER / "poet.py")
    cells = [(cell.cell_type, cell.source) for cell in source.cells]
    assert [(cell.cell_type, cell.source) for cell in NOTEBOOK.cells] == cells


def test_every_cell_was_executed_without_error_or_warning():
    nbformat.validate(NOTEBOOK)
    check_executed(NOTEBOOK)


def test_the_outputs_name_no_machine():
    assert re.findall(PRIVATE, outputs(NOTEBOOK)) == []
    for cell in NOTEBOOK.cells:  # times and random ids change without a reason
        assert not cell.metadata and re.fullmatch(r"cell-\d\d", cell.id)


@pytest.mark.parametrize("text", ["saved /home/me/poet/runs", "https://example.org", "C:\\poet"])
def test_a_path_or_an_address_would_be_found(text):
    assert re.search(PRIVATE, text)


def test_links_lead_somewhere():
    links = [urlsplit(link) for link in re.findall(r"\]\(([^)]+)\)", MARKDOWN)]
    pages = [link.path for link in links if not link.scheme]
    for page in pages:
        assert (FOLDER / page).resolve().is_file(), f"there is no {page}"
    chapters = {page[8:10] for page in pages if re.match(r"\.\./book/\d\d-", page)}
    assert {"01", "05", "06", "08", "09", "11", "12"} <= chapters


def test_every_translated_line_was_written_by_the_model():
    rows = re.findall(r"(?m)^\| ([^|]*[一-鿿][^|]*) \|", MARKDOWN)
    assert len(rows) > 10
    written = outputs(NOTEBOOK).replace("\n", "")
    assert [row for row in rows if row not in written] == []


def test_each_stage_and_the_mask_have_a_line_to_change():
    stages = re.split(r"(?m)^## ", "\n".join(cell.source for cell in NOTEBOOK.cells))
    stages = [text for text in stages if text.startswith(("Choose", "Stage", "Write"))]
    assert len(stages) == 7
    for text in stages:
        assert text.count("# change this") == 1, text[:40]


@pytest.mark.slow
def test_the_notebook_runs_in_a_fresh_environment(tmp_path):
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    notebook = make.read_source()
    make.execute(notebook, tmp_path)
    check_executed(notebook)
    text = outputs(notebook)
    assert re.findall(PRIVATE, text) == []
    losses = [float(loss) for loss in re.findall(r"held-out loss ([\d.]+)", text)]
    assert losses[0] > 7.5 and losses[3] < 4.5, "pretraining has not learned"
    before, after = map(float, re.search(r"five_character +(\S+) \(.*?\) +(\S+) ", text).groups())
    assert after > before, "alignment has not learned"
    assert "with a mask: rhymed True, regulated True" in text
