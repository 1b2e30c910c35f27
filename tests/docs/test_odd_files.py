"""The table of odd files in docs/reliability.md is the one that its command makes."""

import importlib.util
import sys

import pytest
from helpers import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="one file of the table is in /proc")
def test_the_table_of_odd_files_is_what_the_command_makes():
    spec = importlib.util.spec_from_file_location("odd", ROOT / "docs" / "make_odd_files.py")
    odd = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(odd)
    page = odd.PAGE.read_text(encoding="utf-8")
    written = page.partition(odd.BEGIN)[2].partition(odd.END)[0].strip().splitlines()
    made = odd.table().strip().splitlines()
    changed = [row for row in made if row not in written]
    assert not changed and written == made, "run `python docs/make_odd_files.py`"
    assert len(made) - 2 >= 100
    results = [row.split(" | ")[-1] for row in made[2:]]
    assert all(result.startswith("refused: ") or result[0].isdigit() or "rows" in result[:5]
               for result in results)  # fmt: skip
