"""Every relative link and every anchor in a Markdown file exists."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from helpers import ROOT, repository_files
from markdown_it import MarkdownIt

MARKDOWN = repository_files("*.md")


@cache
def links_and_anchors(path: Path) -> tuple[list[str], set[str]]:
    """Returns the targets of links and images of a document, and the anchors of its headings."""
    links, anchors = [], set()
    tokens = MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8"))
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before and before.type == "heading_open":
            anchors.add(unique(slug(token.content), anchors))
        if token.type in ("html_block", "inline"):
            links += re.findall(
                r'<(?:img|a|source)\b[^>]*(?:src|srcset|href)="([^"]+)"', token.content
            )
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            links += [target] if target else []
    return links, anchors


def slug(heading: str) -> str:
    """Returns the anchor of a heading as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def unique(anchor: str, taken: set[str]) -> str:
    number = 0
    while (name := f"{anchor}-{number}" if number else anchor) in taken:
        number += 1
    return name


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_links_lead_somewhere(path):
    broken = []
    for link in links_and_anchors(ROOT / path)[0]:
        parts = urlsplit(unquote(link))
        if parts.scheme:
            continue
        target = ((ROOT / path).parent / parts.path).resolve() if parts.path else ROOT / path
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(f"{link}: there is no such file")
        elif parts.fragment and parts.fragment not in links_and_anchors(target)[1]:
            broken.append(f"{link}: there is no such heading")
    assert not broken, "\n".join(broken)
