"""Nothing is reported to anybody unless a person asks for it."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.mark.parametrize(("asked", "off"), [(None, "True"), ("0", "False")])
def test_telemetry_is_off_unless_a_person_turns_it_on(asked, off):
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DO_NOT_TRACK")
    }
    if asked is not None:
        environment["HF_HUB_DISABLE_TELEMETRY"] = asked
    code = "import poet, trl; from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == off, done.stderr
