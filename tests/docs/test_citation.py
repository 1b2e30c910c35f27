"""CITATION.cff is complete, and one version number stands in all files."""

import tomllib

import yaml
from helpers import ROOT

CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_has_the_keys_that_its_format_requires():
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["message"] and CITATION["title"]
    assert all("name" in author or "family-names" in author for author in CITATION["authors"])


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = changes.split("\n## ")[1].split()[0]
    assert project["version"] == newest == CITATION["version"]
