"""The script of each chapter runs, and records every number and output that its page shows."""

import json
import re
import subprocess
import sys

import pytest
from helpers import ROOT

SCRIPTS = sorted((ROOT / "book" / "code").glob("ch[0-9][0-9]_*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_makes_what_its_page_shows(script, sample_run, tmp_path):
    run, _ = sample_run
    record = tmp_path / "numbers.json"
    options = ["--run", run, "--seed", "1", "--record", record]
    done = subprocess.run(
        [sys.executable, script, *options], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    results = json.loads((ROOT / f"book/results/{script.name[2:4]}.json").read_text("utf-8"))
    assert set(json.loads(record.read_text("utf-8"))) | {"minutes"} == set(results["values"])
    assert {""} | set(re.findall(r"(?m)^== (.*)$", done.stdout)) == set(results["outputs"])


def test_a_script_without_a_run_says_what_to_type(tmp_path):
    command = [sys.executable, SCRIPTS[1], "--run", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Type `make run` first" in done.stderr and "Traceback" not in done.stderr
