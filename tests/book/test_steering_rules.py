"""The figure of chapter 11 says the reasons of the mask in Chinese, too."""

import json
import re
import shutil
import subprocess

import pytest
from helpers import ROOT

FIGURES = ROOT / "book/figures"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_each_reason_of_the_mask_has_chinese():
    data = (FIGURES / "11-data.js").read_text("utf-8").split("const STEERING = ")[1]
    works = json.loads(data.strip().removesuffix(";"))["works"]
    candidates = [one for work in works for step in work["steps"] for one in step["candidates"]]
    reasons = sorted({why for *_, why in candidates} - {""})
    assert len(reasons) > 20
    script = (
        f"const {{ inChinese }} = require({json.dumps(str(FIGURES / '11-rules.js'))});"
        "const reasons = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(reasons.map(inChinese)))"
    )
    command = ["node", "-e", script]
    done = subprocess.run(command, input=json.dumps(reasons), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for reason, shown in zip(reasons, json.loads(done.stdout), strict=True):
        assert not re.search(r"[A-Za-z]{2}", shown), f"no Chinese for: {reason}"
        assert re.findall(r"\d", shown) or not re.match("Line", reason)
