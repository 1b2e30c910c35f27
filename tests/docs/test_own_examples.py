"""The three examples of docs/own_data.md, from their texts to a model that `pipeline` loads."""

import json
import subprocess
import sys

import pytest
from helpers import ROOT, call
from transformers import pipeline

from poet.data.run_data import load_summary
from poet.generation.load import load
from poet.generation.write import write

EXAMPLES = {
    "couplets": ("couplets", []),
    "questions": ("questions", []),
    "short": ("couplets", ["--dpo", "pairs"]),
}


@pytest.fixture(scope="module", params=EXAMPLES)
def example(request, tmp_path_factory):
    """Returns the folder of a run of an example, with fewer texts, and what it printed."""
    folder = tmp_path_factory.mktemp(request.param)
    corpus, more = EXAMPLES[request.param]
    words = ["--corpus", corpus, *more]
    for kind in words[1::2]:
        done = call("docs/make_texts.py", kind, "--count", "240")
        assert done.returncode == 0, done.stderr
        (folder / f"{kind}.jsonl").write_text(done.stdout, encoding="utf-8")
    words[1::2] = [str(folder / f"{kind}.jsonl") for kind in words[1::2]]
    run = folder / "run"
    done = call("run.py", "--recipe", "own", *words, "--output_dir", str(run), timeout=900)
    assert done.returncode == 0, done.stderr
    return request.param, run, done.stdout


@pytest.mark.slow
def test_the_example_ends_in_a_model_that_writes(example):
    name, run, output = example
    last = "dpo" if name == "short" else "sft"
    assert f"saved {run / last}" in output and (run / "report.md").is_file()
    assert ("Alignment is left out" in output) is (last == "sft")
    prompt = "What does a bee eat?" if name == "questions" else "The Silver River"
    assert write(*load(run / last), prompt, seed=0)[0].isascii()
    answer = pipeline("text-generation", model=str(run / last))(
        [{"role": "user", "content": prompt}]
    )
    assert answer[0]["generated_text"][-1]["content"]
    card = (run / last / "README.md").read_text(encoding="utf-8")
    assert "language: en" in card and "Chinese" not in card
    report = (run / "report.md").read_text(encoding="utf-8")
    assert "regulated" not in report and "ends by itself" in report


@pytest.mark.slow
def test_the_checkpoint_says_what_it_was_made_for(example):
    _, run, _ = example
    summary = load_summary(run)
    assert summary["language"]["code"] == "en"
    settings = json.loads((run / "sft" / "config.json").read_text(encoding="utf-8"))
    assert settings["n_positions"] % 32 == 0
    command = [sys.executable, "-m", "poet", "evaluate", str(run / "sft"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)["checkpoints"][str(run / "sft")]
    assert "loss" in row and "regulated" not in row
