"""The marks in the pages of the book: code, outputs and numbers, each with the place it comes from.

All marks are HTML comments, which GitHub does not show:

    <!-- code: poet/data/blocks.py:Blocks -->         the fence below holds this class
    <!-- code: train_sft.py#rows = load_stage -->     from the line with this text to an empty line
    <!-- code: configs/sample/dpo.yaml -->            a whole file
    <!-- output: 04.heads -->                         the fence below holds what the script printed
    4.63<!--=04.loss-->                               this number is the value 04.loss
    64<!--=09.five_before:percent-->                  0.64 as a percentage
    4.59<!--=04.loss:min-->                           the lowest of three seeds; also `max`
    1,024<!--=configs/tang/pretrain.yaml:sampled_vocabulary-->
    0.034<!--=bench.time_to_4.68-->                   a row of benchmarks/results/bench.json
    4.398<!--=benchmarks/LOG.md#2026-11-25-gelu-in-one-kernel-kept-->     stands in that section

A new number gets as many decimals as the old one in the page.
"""

import ast
import json
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yaml
from mdit_py_plugins.anchors.index import slugify

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
FENCE = re.compile(
    r"<!-- (?P<kind>code|output): (?P<source>.+?) -->\n+"
    r"(?P<open>```\w*\n)(?P<text>.*?)(?P<close>```)",
    re.DOTALL,
)
NUMBER = re.compile(r"(?P<number>[−-]?\d(?:[\d,.]*\d)?)<!--=(?P<key>[^>]+?)-->")


class Stale(Exception):
    """A mark names something that does not exist."""


# ---------------------------------------------------------------------------------- code, outputs


def fence_text(kind: str, source: str) -> str:
    """Returns the text that belongs into the fence below a mark."""
    return code(source) if kind == "code" else output(source)


@cache
def code(source: str) -> str:
    """Returns the code that `source` names: a definition, a paragraph, or a whole file."""
    name = re.split(r"[:#]", source, maxsplit=1)[0]
    path = ROOT / name
    if not path.is_file():
        raise Stale(f"there is no file {name}")
    text = path.read_text(encoding="utf-8")
    if source == name:
        return text
    wanted = source[len(name) + 1 :]
    lines = text.splitlines()
    if source[len(name)] == "#":
        start = next((i for i, line in enumerate(lines) if wanted in line), None)
        if start is None:
            raise Stale(f"{name} has no line with {wanted!r}")
        end = next((i for i in range(start, len(lines)) if not lines[i].strip()), len(lines))
    else:
        node = _find(ast.parse(text), wanted.split("."))
        if node is None:
            raise Stale(f"{name} has no {wanted}")
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        end = node.end_lineno
    return textwrap.dedent("\n".join(lines[start:end])) + "\n"


def _find(node: ast.AST, names: list[str]) -> ast.stmt | None:
    """Returns the function, class or assignment of this dotted name, or None."""
    for child in ast.iter_child_nodes(node):
        targets = getattr(child, "targets", [])
        found = [getattr(child, "name", None), *(getattr(t, "id", None) for t in targets)]
        if names[0] in found:
            return child if len(names) == 1 else _find(child, names[1:])
    return None


def output(source: str) -> str:
    """Returns the part of a script's output below the heading `== part`, or all of it."""
    chapter, _, part = source.partition(".")
    outputs = results(chapter)["outputs"]
    if part not in outputs:
        raise Stale(f"book/results/{chapter}.json has no output {part!r}")
    return outputs[part].strip("\n") + "\n"


# ---------------------------------------------------------------------------------------- numbers


@cache
def results(chapter: str) -> dict:
    """Returns the results of a chapter's script, as book/measure.py recorded them."""
    path = BOOK / "results" / f"{chapter}.json"
    if not path.is_file():
        raise Stale(f"there is no {path.relative_to(ROOT)}")
    return json.loads(path.read_text(encoding="utf-8"))


def value(key: str, written: str) -> tuple[float, str]:
    """Returns the value of a key, and where it comes from."""
    if "#" in key:
        return _quoted(key, written)
    if ".yaml:" in key:
        name, _, setting = key.partition(":")
        path = ROOT / name
        numbers = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if setting not in numbers:
            raise Stale(f"{name} has no {setting}")
        return float(numbers[setting]), name
    if key.startswith("bench."):
        return _bench(key.removeprefix("bench."))
    chapter, _, rest = key.partition(".")
    name, _, how = rest.partition(":")
    found = results(chapter)
    if name not in found["values"]:
        raise Stale(f"book/results/{chapter}.json has no value {name!r}")
    seeds = found["values"][name]
    number = {"min": min, "max": max}.get(how, lambda all: sum(all) / len(all))(seeds)
    if how == "percent":
        number *= 100
    elif how not in ("", "min", "max"):
        raise Stale(f"{key}: {how!r} is none of min, max, percent")
    return number, f"`{found['command']}`, commit {found['commit']}"


def _bench(name: str) -> tuple[float, str]:
    path = ROOT / "benchmarks" / "results" / "bench.json"
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        if row["name"] == name:
            return float(row["value"]), f"`{row['command']}`, benchmarks/results/bench.json"
    raise Stale(f"benchmarks/results/bench.json has no row {name}")


def _quoted(key: str, written: str) -> tuple[float, str]:
    """Returns the written number itself, if it stands in the section that the key names."""
    name, _, anchor = key.partition("#")
    path = ROOT / name
    if not path.is_file():
        raise Stale(f"there is no file {name}")
    for heading, text in _sections(path.read_text(encoding="utf-8")):
        if heading == anchor:
            if written not in re.findall(r"\d(?:[\d,.]*\d)?", text):
                raise Stale(f"{written} does not stand in {key}")
            return float(written.replace(",", "")), f"[{name}](../{name}#{anchor})"
    raise Stale(f"{name} has no heading {anchor}")


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Yields the anchor of each heading, as GitHub makes it, and the text below it."""
    parts = re.split(r"(?m)^#+ +(.*)$", text)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        yield slugify(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)), body


def written_like(number: float, example: str) -> str:
    """Returns a number with the decimals and the thousands mark of `example`."""
    decimals = len(example.partition(".")[2])
    text = (
        f"{number:,.{decimals}f}" if "," in example or number >= 1000 else f"{number:.{decimals}f}"
    )
    return text.replace("-", "−") if "−" in example else text
