"""The pages of the book hold current code, outputs and numbers, and have the same parts."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

BOOK = ROOT / "book"
CHAPTERS = sorted(path.name for path in BOOK.glob("[0-9][0-9]-*.md"))
PARTS = {
    "": "In five minutes|Why|The code|You should see|Questions|Predict, then run|Exercise"
    "|If it breaks",
    "zh": "五分钟能看到什么|为什么|代码|应该看到什么|问题|先猜，再运行|练习|哪里会出错",
}
BOTH = [(folder, name) for folder in PARTS for name in CHAPTERS if (BOOK / folder / name).is_file()]


def check(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, folder / "build.py", "--check"]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


@pytest.fixture
def book(tmp_path):
    """A copy of the book, with links to what its pages name."""
    for path in ROOT.iterdir():
        if path.name not in ("book", ".git", "runs"):
            (tmp_path / path.name).symlink_to(path)
    ignored = shutil.ignore_patterns("site", "__pycache__", "weights.js", "*.png")
    shutil.copytree(BOOK, tmp_path / "book", ignore=ignored)
    return tmp_path / "book"


def test_code_outputs_and_numbers_are_current():
    done = check(BOOK)
    assert done.returncode == 0, done.stderr


def test_changed_code_is_found(book):
    page = book / "02-next-character.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("return torch.bincount(", "return torch.histogram("), "utf-8")
    assert "ch02_next_character.py:count_pairs was out of date" in check(book).stderr


def test_a_changed_number_is_found(book):
    page = book / "02-next-character.md"
    text = page.read_text(encoding="utf-8")
    written = re.search(r"([\d.]+)<!--=02\.network-->", text)[1]
    page.write_text(text.replace(f"{written}<!--=02.network-->", "3.99<!--=02.network-->"), "utf-8")
    assert f"02.network was 3.99, is {written}" in check(book).stderr


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("The loss falls to 3.21 nats.", "3.21 names no source"),
        ("| a table | 3.21 |", "3.21 names no source"),
        ("```\na loss of 3.21\n```", "3.21 names no source"),
        ("A loss of 4<!--=02.no_such_value-->.", "has no value 'no_such_value'"),
        ("A loss of 4<!--=benchmarks/LOG.md#no-such-entry-->.", "has no heading no-such-entry"),
        ("<!-- code: train_sft.py:no_such_function -->\n```python\n```", "has no no_such_function"),
        ("<!-- output: 02.no_such_part -->\n```text\n```", "has no output 'no_such_part'"),
    ],
)
def test_a_number_or_code_without_a_source_is_found(line, problem, book):
    with (book / "02-next-character.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{line}\n")
    assert problem in check(book).stderr


@pytest.mark.parametrize(("folder", "name"), BOTH)
def test_a_chapter_has_all_its_parts(folder, name):
    text = (BOOK / folder / name).read_text(encoding="utf-8")
    prose = re.sub(r"(?ms)^```.*?^```", "", text)
    assert re.findall(r"(?m)^## (.+)$", prose) == PARTS[folder].split("|")
    assert text.startswith(f"# {int(name[:2])}. ")
    assert len(re.findall(r"<details>", prose)) >= 10, "three answers to three questions, and one"
    assert re.search(rf"\(\.*/*figures/{name[:2]}-[\w-]+\.html\)", text), "no figure that moves"
    assert re.search(r"!\[[^]]{20,}\]", text), "the picture has no description"
    still = f"figures/{name[:-3]}{'.zh' if folder else ''}.png"
    assert f"]({'../' if folder else ''}{still})" in text and (BOOK / still).is_file()
    if not folder:
        assert len(re.sub(r"<!--.*?-->", "", prose).split()) <= 2500


def outline(text: str) -> list[str]:
    """Returns what both languages share, in order: code, outputs, keys, commands and figures."""
    text = re.sub(r"(?m)^(#+) .*$", r"\1", text)
    shared = (
        r"(?ms)^#+$|^```.*?^```|<!--.*?-->|^ {4}\S[^\n#]*|<details>|\$\$.*?\$\$|^\|(?=-)"
        r"|\((?:\.\./)*(?:figures|code|exercises|solutions)/[^)]*\)"
    )
    parts = [re.sub(r"\(\.\./", "(", part).strip() for part in re.findall(shared, text)]
    return [part.replace(".zh.png", ".png") for part in parts]  # each language has its own stills


@pytest.mark.parametrize("name", sorted(path.name for path in BOOK.glob("zh/*.md")))
def test_both_languages_have_the_same_parts(name):
    english, chinese = (BOOK / folder / name for folder in ("", "zh"))
    assert outline(chinese.read_text("utf-8")) == outline(english.read_text("utf-8"))


@pytest.mark.parametrize("name", [name[:2] for name in CHAPTERS])
def test_the_solution_passes_and_the_exercise_does_not(name):
    exercise, solution = load(f"exercises/ch{name}.py"), load(f"solutions/ch{name}.py")
    (function,) = [n for n in vars(solution) if n in exercise.check.__code__.co_varnames[:1]]
    exercise.check(getattr(solution, function))
    with pytest.raises(NotImplementedError):
        exercise.check(getattr(exercise, function))


def load(path: str):
    spec = importlib.util.spec_from_file_location(path.replace("/", "_")[:-3], BOOK / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_headings_of_run_name_chapters():
    from poet.training.stages import JOURNEY

    named = {info.chapter for info in JOURNEY.values()} | set(
        re.findall(r'"(\d\d-[\w-]+)"', (ROOT / "run.py").read_text(encoding="utf-8"))
    )
    assert len(named) == 6
    for chapter in named:
        assert (BOOK / f"{chapter}.md").is_file()
