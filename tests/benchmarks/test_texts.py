"""The pages of benchmarks/ list what they hold: every entry of the log, every row of the table."""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def test_log_lists_every_entry():
    log = (FOLDER / "LOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", log, flags=re.M)
    pattern = r"\d{4}-\d\d-\d\d .+ \((kept|negative|measured)\)"
    assert [heading for heading in headings if not re.fullmatch(pattern, heading)] == []
    anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
    assert re.findall(r"\]\(#([^)]+)\)", log) == anchors


def test_readme_explains_every_row():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    result = json.loads((FOLDER / "results" / "bench.json").read_text(encoding="utf-8"))
    names = [row["name"] for row in result["rows"]]
    assert [name for name in names if f"| `{name}` |" not in readme] == []
