"""README.md and README.zh.md have the same sections, commands and tables."""

import re

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


def test_the_two_readmes_are_in_step():
    assert outline(CHINESE) == outline(ENGLISH)


def test_the_readme_is_short_and_has_few_numbers():
    text = ENGLISH.read_text(encoding="utf-8")
    words = len(text.split())
    assert words <= 900
    assert len(re.findall(r"\d[\d,.]*", text)) <= 0.03 * words
