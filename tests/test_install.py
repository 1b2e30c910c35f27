"""Tests of the installed package: a wheel in an empty folder, used far from the repository.

The commands run with `python -S`, so that no link to the repository in site-packages helps them.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers import ROOT, make_checkpoint, make_model, rhyme_words

import poet
from poet.generation.load import load
from poet.generation.write import write

pytestmark = pytest.mark.slow

IMPORT_EVERYTHING = """
import importlib, json, pkgutil, poet, poet_tokenizer
for module in pkgutil.walk_packages(poet.__path__, "poet."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(json.dumps([poet.__file__, poet_tokenizer.__file__]))
"""

USE_THE_NAMES = """
import json, sys
import poet

model, tokenizer = poet.load(sys.argv[1])
request = poet.read_form("五言絕句", rhyme="東")
(poem,) = poet.write(model, tokenizer, "春夜", form=request, seed=3)
poet.FormLogitsProcessor(tokenizer, request)
judgment = poet.judge(poem)
print(json.dumps([poem, judgment.form, judgment.regulated, poet.__version__]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Returns an empty folder into which a wheel of this project was installed."""
    for name in ("pip", "setuptools"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name} to build the wheel: pip install {name}")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("poet", "poet_tokenizer"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def run(installed, tmp_path):
    """(words) -> the output of `python -S words`, run in a folder outside the repository."""
    paths = [installed, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, dict.fromkeys(paths))),
        "PYTHONIOENCODING": "utf-8",
    }

    def call(*words) -> str:
        command = [sys.executable, "-S", *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_every_module_is_installed_and_can_be_imported(installed, run):
    for place in json.loads(run("-c", IMPORT_EVERYTHING)):
        assert Path(place).is_relative_to(installed)
    for folder in ("poet", "poet_tokenizer"):
        files = {path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file()}
        for file in files:
            if "__pycache__" not in file.parts:
                assert (installed / file).is_file(), f"{file} is missing from the wheel"


def test_the_command_prints_its_version(installed, run):
    version = f"poet {poet.__version__}\n"
    assert run(installed / "bin" / "poet", "--version") == run("-m", "poet", "--version") == version


def test_the_command_writes_poems(run, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "checkpoint")
    (poem,) = write(*load(checkpoint), "春夜", seed=1)
    out = run("-m", "poet", "write", "春夜", "--seed", 1, "--model", checkpoint)
    assert out == "\n".join(filter(None, poem.split("\n"))) + "\n"


def test_the_command_measures_a_file_of_poems_and_a_checkpoint_on_a_corpus(run, invented, tmp_path):
    poem = "石徑幽泉細，松窗夜雨聲。\n孤燈明舊壁，白髮對寒城。"
    (tmp_path / "poems.txt").write_text(poem, encoding="utf-8")
    out = run("-m", "poet", "evaluate", "--poems", "poems.txt", "--json")
    assert json.loads(out)["poems"]["well_formed"] == 1
    records = json.dumps(invented(100), ensure_ascii=False)
    (tmp_path / "corpus.json").write_text(records, encoding="utf-8")
    make_checkpoint(tmp_path / "checkpoint")
    words = ("evaluate", "checkpoint", "--corpus", "corpus.json", "--titles", 3, "--json")
    result = json.loads(run("-m", "poet", *words))
    assert result["titles"] == 3 and result["checkpoints"]["checkpoint"]["poem_loss"] > 0


def test_the_public_names_work(run, tmp_path):
    folder = make_model(tmp_path / "model", rhyme_words("東庚", 12))
    poem, form, regulated, version = json.loads(run("-c", USE_THE_NAMES, folder))
    assert (form, regulated, version) == ("五言絕句", True, poet.__version__)
    assert poem == write(*load(folder), "春夜", form=poet.read_form(form, rhyme="東"), seed=3)[0]
