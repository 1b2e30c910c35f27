"""The device, its number formats, its compiler and the number of processes are recognized."""

import shutil
import sys

import psutil
import pytest
import torch

from poet import device
from poet.errors import UserError


@pytest.fixture(autouse=True)
def ask_again(monkeypatch):
    """Clears the cached answer, and shows a machine without a GPU."""
    monkeypatch.setattr(device, "has_accelerator", lambda: False)
    device.has_compiler.cache_clear()
    yield
    device.has_compiler.cache_clear()


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_a_compiler_is_tried_out(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "g++")
    assert device.has_compiler()
    device.has_compiler.cache_clear()
    monkeypatch.setattr(device.sysconfig, "get_path", lambda name: str(tmp_path))  # no Python.h
    assert not device.has_compiler()


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script is no program there")
@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", None])
def test_a_compiler_that_fails_or_is_missing_does_not_count(monkeypatch, tmp_path, script):
    compiler = tmp_path / "c++"
    if script:
        compiler.write_text(script)
        compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert not device.has_compiler()


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script is no program there")
@pytest.mark.parametrize("exit_code", [0, 1])
def test_on_a_gpu_a_compiler_of_c_is_tried_out(monkeypatch, tmp_path, exit_code):
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(device, "fastest_device", lambda: torch.device("cuda"))
    assert device.has_compiler() == (exit_code == 0)


@pytest.mark.parametrize(
    "how",
    [
        ["--num_processes", "2"],
        ["--num_processes=2"],
        ["--config_file={two}"],
        ["--config-file", "{two}"],
    ],
)
def test_a_launch_that_started_one_process_of_two_is_known_in_all_its_spellings(
    monkeypatch, tmp_path, how
):
    (tmp_path / "two.yaml").write_text("num_processes: 2\n", encoding="utf-8")
    command = [
        "accelerate",
        "launch",
        "--cpu",
        *(word.format(two=tmp_path / "two.yaml") for word in how),
        "train.py",
    ]
    monkeypatch.setattr(psutil.Process, "cmdline", lambda process: command)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(UserError, match="asked for 2 processes and started one"):
        device.check_world_size(1)


def test_bfloat16_is_found_without_the_private_names_of_torch(monkeypatch):
    before = device.has_fast_bfloat16()
    for name in ("get_capabilities", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    if sys.platform == "linux":  # which lists the processor's flags
        assert device.has_fast_bfloat16() == before
