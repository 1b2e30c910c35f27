"""The commands and snippets of README, docs/ and the other documents work.

Sybil finds them. (pytest-markdown-docs was tried too: it knows only fenced Python.)

- Python snippets run. The snippets of one document share their names.
- Cheap commands run: `poet`, `run.py --stages data`, `cp`, `mkdir`.
- Of other commands the script, the recipe and every option must exist.
- YAML snippets have only keys that a recipe may have. JSONL snippets are poems.

All of this happens in a copy of the repository in which `runs/sample` and `runs/tang` hold the
checkpoints of the recipe `sample`. `<!-- skip: next -->` before a snippet leaves it out.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import yaml
from helpers import ROOT, repository_files
from sybil import Document, Region
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

from poet.data.poems import read_corpus
from poet.training import command_line

# Programs of the machine. They are not run: their work is outside this repository.
OUTSIDE = {
    *("accelerate", "brew", "cat", "cd", "curl", "export", "git", "head", "hf", "iconv", "jupyter"),
    *("ls", "mypy", "npm", "pip", "pre-commit", "rm", "ruff", "source", "sudo", "tail"),
    *("tensorboard", "trackio", "uv", "wandb", "wget"),
}
OURS = {"make", "poet", "python", "pytest", "trl", "cp", "mkdir"}
PLACEHOLDER = re.compile(r"…|\.\.\.|\b[A-Z]{3,}\b")
OWN_MODEL = re.compile(r"runs/(own|couplets)/")  # test_own_examples.py trains and asks these models
INCLUDED = re.compile(r"<!-- code: [^>]+ -->\s*\Z")  # code of a file, in the pages of the book
DOCUMENTS = [p for p in repository_files("*.md") if p.name != "LOG.md"]


class Understood(Exception):
    """A training script has read its options, and would train now."""


# ----------------------------------------------------------------------------------- the commands


def read_commands(source: str) -> Iterator[list[str]]:
    """Yields the words of each command of a shell snippet, without its setting of variables."""
    for line in source.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("&|;"):
                if words:
                    yield words
                words = []
            elif words or not re.match(r"[A-Z_]+=", word):
                words.append(word)


def check_command(words: list[str]) -> None:
    """Runs a command, or fails if it could not run."""
    if {"<", ">", ">>"} & set(words):
        words = words[: min(words.index(sign) for sign in ("<", ">", ">>") if sign in words)]
    program = Path(words[0]).name.replace("python3", "python")
    if program == "accelerate" and words[1:2] == ["launch"]:
        program, words = "python", _without_launcher(words)
    if program == "python" and words[1:2] == ["-m"]:
        program, words = words[2], words[2:]
        if program in sys.stdlib_module_names:
            return
    if program == "make":
        subprocess.run(["make", "-n", *words[1:]], check=True, capture_output=True)
    elif program == "python" and words[1].endswith(".py"):
        _check_script(words[1], words[2:])
    elif program == "poet":
        _check_poet(words[1:])
    elif program == "trl":
        from trl.scripts import sft

        assert words[1] == "sft"
        sft.make_parser().parse_args_and_config(words[2:])
    elif program == "pytest":
        for path in (word for word in words[1:] if word.startswith("tests")):
            assert Path(path).exists(), f"there is no {path}"
    elif program in ("cp", "mkdir"):
        subprocess.run(words, check=True)
    elif "." in program and importlib.util.find_spec(program):
        _check_options([sys.executable, "-m", program], words[1:])
    else:
        assert program in OUTSIDE or program == "python", f"unknown program {program}"


def _without_launcher(words: list[str]) -> list[str]:
    """Returns `accelerate launch --config_file F train.py …` as `python train.py …`."""
    start = next(i for i, word in enumerate(words) if word.endswith(".py"))
    launcher = words[2:start]
    if "--config_file" in launcher:
        assert Path(launcher[launcher.index("--config_file") + 1]).is_file()
    return ["python", *words[start:]]


def _check_script(script: str, words: list[str]) -> None:
    assert Path(script).is_file(), f"there is no {script}"
    if script.startswith("train_"):
        with pytest.raises(Understood):
            _call(script, words)
    elif script != "run.py":
        _check_options([sys.executable, script], words)
    elif words[-2:] == ["--stages", "data"] and not any(map(PLACEHOLDER.search, words)):
        _call(script, words)
    else:
        _call(script, words, "parse_options")


def _check_poet(words: list[str]) -> None:
    from poet import cli

    if any(PLACEHOLDER.search(word) or OWN_MODEL.match(word) for word in words):
        _check_options([sys.executable, "-m", "poet", words[0]], words[1:])
        return
    sys.argv = ["poet", *words]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, f"exit code {ended.value.code}"


def _check_options(command: list[str], words: list[str]) -> None:
    options = {word.split("=")[0] for word in words if word.startswith("-")}
    if options:
        missing = options - _options(*command)
        assert not missing, f"there is no option {', '.join(missing)}"


@cache
def _options(*command: str) -> set[str]:
    """Returns the options that `--help` of a command shows."""
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"(?<![\w-])--?\w[\w-]*", done.stdout))


def _call(script: str, words: list[str], function: str = "main") -> None:
    spec = importlib.util.spec_from_file_location(Path(script).stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.argv = [script, *words]
    getattr(module, function)()


# ------------------------------------------------------------------------------------ the snippets


def check_shell(example) -> None:
    for words in read_commands(example.parsed):
        try:
            check_command(words)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"`{shlex.join(words)}`: {error}") from error


def check_yaml(example) -> None:
    unknown = set(yaml.safe_load(example.parsed)) - _recipe_keys()
    assert not unknown, f"no recipe has the key {', '.join(unknown)}"


def check_jsonl(example) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poems.jsonl"
        path.write_text(example.parsed, encoding="utf-8")
        assert len(read_corpus(str(path)).poems) == len(example.parsed.splitlines())


@cache
def _recipe_keys() -> set[str]:
    from trl import DPOConfig, GRPOConfig, SFTConfig

    from poet.data.options import DataOptions
    from poet.training import options

    kinds = [DataOptions, *options.Options.__args__, SFTConfig, DPOConfig, GRPOConfig]
    return {field.name for kind in kinds for field in fields(kind)}


def indented_commands(document: Document) -> Iterator[Region]:
    """Finds blocks that are indented by four spaces and start with a command of this project."""
    fenced = [match.span() for match in re.finditer(r"(?ms)^```.*?^```", document.text)]
    for block in re.finditer(r"(?m)(?:(?<=\n\n)|\A)(?: {4}.*(?:\n|\Z)|\n(?= {4}))+", document.text):
        start = Path(block.group().split()[0]).name.replace("python3", "python")
        is_fenced = any(first <= block.start() < last for first, last in fenced)
        if start in OURS | OUTSIDE and not is_fenced:
            region = Region(block.start(), block.end(), block.group(), check_shell)
            yield region


PARSERS = [
    SkipParser(),
    PythonCodeBlockParser(),
    *(CodeBlockParser(name, check_shell) for name in ("bash", "sh", "shell", "console")),
    CodeBlockParser("yaml", check_yaml),
    CodeBlockParser("jsonl", check_jsonl),
    indented_commands,
]


@pytest.fixture(scope="session")
def copied_repository(sample_run, tmp_path_factory) -> Path:
    """A copy of the repository with the checkpoints and the poems that documents speak of."""
    trained, _ = sample_run
    copy = tmp_path_factory.mktemp("repository")
    for path in repository_files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    shutil.copytree(copy / "configs/own", copy / "configs/mine")  # as --save_recipe mine does
    (copy / "runs").mkdir()
    for recipe in ("sample", "tang", "tang-regulated"):
        run = copy / "runs" / recipe
        run.mkdir()
        for part in trained.iterdir():
            (run / part.name).symlink_to(part)
        for stage in ("grpo", "distill", "author"):
            (run / stage).symlink_to(trained / "dpo")
    poems = (ROOT / "poet/sample/poems.jsonl").read_text(encoding="utf-8").splitlines()[:500]
    (copy / "my_poems.jsonl").write_text("\n".join(poems), encoding="utf-8")
    texts = ["\n".join(json.loads(poem)["paragraphs"]) for poem in poems]
    (copy / "my_poems.txt").write_text("\n\n".join(texts), encoding="utf-8")
    return copy


@pytest.fixture
def workplace(copied_repository, monkeypatch) -> Path:
    """The copied repository as the working folder. Training scripts stop after their options."""
    real_parse = command_line.parse

    def parse(*types, argv=None):
        parsed = real_parse(*types, argv=argv)
        if argv is None:
            raise Understood
        return parsed

    monkeypatch.chdir(copied_repository)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", [str(copied_repository), *sys.path])
    monkeypatch.setattr(command_line, "parse", parse)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return copied_repository


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_the_snippets_of_a_document_work(path, workplace):
    failures = []
    document = Document.parse(str(path), *PARSERS)
    for example in document:
        if INCLUDED.search(document.text[: example.start]):
            continue  # tests/book compares it with its source
        try:
            example.evaluate()
        except (Exception, SystemExit) as error:
            failures.append(f"{path}:{example.line}: {type(error).__name__}: {error}")
    assert not failures, "\n".join(failures)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "make runn",
        "python run.py --recipe tangs",
        "python train_sfd.py --config configs/tang/sft.yaml",
        "python train_sft.py --config configs/tangs/sft.yaml",
        "accelerate launch train_sft.py --config configs/tang/sft.yaml --learning_rat 1e-3",
        "python benchmarks/bench.py --fast",
        "poet write 春夜喜雨 --colour red",
        "poet write TITLE --colour red",
        "an unknown program",
    ],
)
def test_a_command_with_a_mistake_does_not_pass(command, workplace):
    with pytest.raises((Exception, SystemExit)):
        check_command(command.split())
