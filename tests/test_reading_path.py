"""The path that a learner reads: its length, and what it does not need."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from helpers import OPTIONS, ROOT

STAGES = ("pretrain", "sft", "dpo")
MOST_LINES = 1_500
SIDE_ROOMS = ("poet/speed/", "poet/prosody/", "poet/alignment/", "poet/evaluation/")


def code_lines(path: Path) -> int:
    """Returns the lines of a file without blank lines, comments and docstrings."""
    source = path.read_text(encoding="utf-8")
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        is_docstring = (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        )
        if is_docstring:
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(
        lines - {number for number, line in enumerate(source.splitlines(), 1) if not line.strip()}
    )


@pytest.fixture(scope="module")
def imported(run, tmp_path_factory) -> list[str]:
    """The files that three plain stages and writing a poem import, relative to the repository."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "data").symlink_to(run / "data")
    script = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
import train_pretrain, train_sft, train_dpo
options = {OPTIONS!r} | {{"dpo": {OPTIONS["sft"]!r}}}
for stage in {STAGES!r}:
    sys.argv = ["train", "--config", f"configs/tang/{{stage}}.yaml", *options[stage]]
    sys.argv += ["--max_steps", "1", "--plain", "true"]
    if stage == "sft":
        sys.argv += ["--theme_fraction", "0"]
    if stage == "dpo":
        sys.argv += ["--sampled_titles", "0"]
    if stage == "pretrain":
        sys.argv += ["--muon_learning_rate", "0.03"]
    sys.argv += ["--output_dir", {str(folder)!r} + "/" + stage]
    sys.modules["train_" + stage].main()
from poet.generation.load import load
from poet.generation.write import write
write(*load({str(folder)!r} + "/dpo"), "倀", plain=True)  # a title that the vocabulary has
files = [m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)]
print("FILES" + json.dumps(files))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    files = map(Path, json.loads(done.stdout.rpartition("FILES")[2]))
    local = [
        f.relative_to(ROOT) for f in files if f.is_relative_to(ROOT) and ".venv" not in f.parts
    ]
    return sorted(map(str, local))


def section(heading: str) -> list[str]:
    """Returns the Python files that a section of the guide links to."""
    guide = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    text = next(part for part in guide.split("\n## ") if part.startswith(heading))
    links = [link.removeprefix("../") for link in re.findall(r"\]\(([^)#]+\.py)\)", text)]
    return list(dict.fromkeys(links))


def test_the_reading_path_is_short():
    counts = {name: code_lines(ROOT / name) for name in section("# Read the code")}
    assert len(counts) == 14
    table = "\n".join(f"{count:5} {name}" for name, count in counts.items())
    assert sum(counts.values()) <= MOST_LINES, table


def test_a_plain_run_needs_none_of_the_side_rooms(imported):
    assert not [name for name in imported if name.startswith(SIDE_ROOMS)]


def test_the_guide_names_every_file_that_a_plain_run_imports(imported):
    named = section("# Read the code") + section("What you can skip")
    assert set(imported) - set(named) <= {
        "poet/data/__init__.py",
        "poet/generation/__init__.py",
        "poet/training/__init__.py",
    }
