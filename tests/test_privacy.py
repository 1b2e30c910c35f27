"""Tests that nothing is reported to anyone without the user's consent."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT


@pytest.mark.parametrize(("value", "disabled"), [(None, "True"), ("0", "False")])
def test_telemetry_is_off_unless_the_user_turns_it_on(value, disabled):
    switches = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DO_NOT_TRACK")
    environment = {key: value for key, value in os.environ.items() if key not in switches}
    if value is not None:
        environment["HF_HUB_DISABLE_TELEMETRY"] = value
    code = (
        "import poet, trl; from huggingface_hub import constants;"
        "print(constants.HF_HUB_DISABLE_TELEMETRY)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == disabled, done.stderr
