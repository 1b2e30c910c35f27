"""The figure of chapter 12 chooses the same numbers as `run.py --recipe own`."""

import json
import shutil
import subprocess

import pytest
import yaml
from helpers import ROOT

from poet.data import own
from poet.data.build import build_datasets
from poet.data.options import DataOptions

FIGURES = ROOT / "book/figures"
RULES = ROOT / "configs/own/choices.yaml"
node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def in_figure(texts: list[str]) -> dict:
    script = (
        f"const rules = require({json.dumps(str(FIGURES / '12-rules.js'))});"
        "const { RULES, text } = JSON.parse(require('fs').readFileSync(0));"
        "const texts = rules.paragraphs(text);"
        "const kept = new Set(rules.countCharacters(texts).map((pair) => pair[0]));"
        "console.log(JSON.stringify(rules.chooseNumbers(RULES, texts, kept)))"
    )
    given = {"RULES": yaml.safe_load(RULES.read_text("utf-8")), "text": "\n\n".join(texts)}
    command = ["node", "-e", script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@node
@pytest.mark.parametrize(("count", "words"), [(30, 5), (400, 40), (200, 600)])
def test_the_figure_chooses_the_numbers_of_the_recipe(count, words, tmp_path):
    texts = [" ".join(f"größe{i}{w}" for w in range(words)) for i in range(count)]
    corpus = tmp_path / "texts.jsonl"
    corpus.write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    options = DataOptions(str(corpus), min_couplets=1, equal_couplets=False, forbidden="")
    build_datasets(options, tmp_path)
    own.write_recipe(ROOT / "configs/own", tmp_path, options)
    chosen = yaml.safe_load((tmp_path / "recipe/pretrain.yaml").read_text("utf-8"))
    shown = in_figure(texts)
    assert shown["positions"] == chosen["n_positions"]
    assert shown["steps"] == chosen["max_steps"]
    assert shown["batch"] == chosen["per_device_train_batch_size"]
    assert (shown["layers"], shown["width"]) == (chosen["n_layer"], chosen["n_embd"])


def test_the_figure_has_the_rules_of_today():
    lines = (FIGURES / "12-data.js").read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("const RULES = "))
    rules = json.loads(line.removeprefix("const RULES = ").removesuffix(";"))
    assert rules == yaml.safe_load(RULES.read_text("utf-8"))
