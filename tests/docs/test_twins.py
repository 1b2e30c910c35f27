"""README.md and README.zh.md have the same sections, commands and tables."""

import re

import pytest
from helpers import ROOT
from markdown_it import MarkdownIt

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"


def outline(path) -> list[str]:
    """Returns the headings, commands and cells of a document in order, without any prose."""
    rows = []
    for token in MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8")):
        if token.type in ("heading_open", "tr_open", "th_open", "td_open"):
            rows.append(token.tag)
        elif token.type == "code_block" or token.info in ("python", "bash"):
            # Comments, and what a list of files says about each, differ.
            rows += [
                re.split(r"\s{2,}|\s*#", line.strip())[0] for line in token.content.splitlines()
            ]
        elif token.type == "fence":
            rows.append(token.info)
    return rows


@pytest.mark.skipif(
    len(CHINESE.read_text(encoding="utf-8").splitlines()) <= 40,
    reason="README.zh.md is still a short note",
)
def test_the_two_readmes_are_in_step():
    assert outline(CHINESE) == outline(ENGLISH)
