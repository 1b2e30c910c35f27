"""Says which devices and number formats this machine has, and which options follow from them.

It knows processors, compilers and launchers. It does not know models or data.
Every run needs this file, also with `--plain`. Files that only make training faster are in
`poet/speed/`.
"""

import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from poet.errors import UserError

if TYPE_CHECKING:
    import torch


def has_fast_bfloat16() -> bool:
    """Returns whether the hardware multiplies in bfloat16.

    A GPU must support it. A CPU needs AVX512-BF16 or AMX. Other CPUs emulate bfloat16, several
    times slower than float32.
    """
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return _cpu_has_bfloat16()


def _cpu_has_bfloat16() -> bool:
    import torch

    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.13 and later
        capabilities = torch.cpu.get_capabilities()
        return capabilities.get("avx512_bf16", False) or capabilities.get("amx_tile", False)
    try:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    except AttributeError:  # both names are private to torch
        return _cpu_flags() & {"avx512_bf16", "amx_tile"} != set()


def _cpu_flags() -> set[str]:
    """Returns the processor's flags as Linux lists them, or an empty set."""
    try:
        return set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return set()


def fast_dtype() -> "torch.dtype":
    """Returns bfloat16 where the hardware multiplies in it, else float32."""
    import torch

    return torch.bfloat16 if has_fast_bfloat16() else torch.float32


def has_accelerator() -> bool:
    """Returns whether torch finds a GPU or another accelerator."""
    import torch

    return torch.accelerator.is_available()


def fastest_device() -> "torch.device":
    """Returns an NVIDIA GPU if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def undisturbed_random_numbers(device: "torch.device") -> AbstractContextManager:
    """Returns a context that restores the random state of the CPU and of `device` when it ends."""
    import torch

    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@functools.cache
def has_compiler() -> bool:
    """Returns whether `torch.compile` can build its kernels.

    On a CPU, torch needs a C++ compiler that finds its own headers and those of Python. On an
    NVIDIA GPU, it needs a C compiler and Python's headers. The function compiles a short file,
    because many systems have a compiler and no headers.
    """
    if fastest_device().type == "cuda":  # the compiler that Triton chooses
        return _compiles(os.environ.get("CC") or shutil.which("gcc") or "clang", "c", "")
    if has_accelerator():
        return True
    # The compiler that torch chooses.
    compiler = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    return _compiles(compiler, "c++", "#include <cmath>\n")


def _compiles(compiler: str, language: str, headers: str) -> bool:
    if shutil.which(compiler) is None or sys.platform == "win32":
        return shutil.which(compiler) is not None
    command = [compiler, "-fsyntax-only", "-I", sysconfig.get_path("include"), "-x", language, "-"]
    source = f"{headers}#include <Python.h>\n".encode()
    return subprocess.run(command, input=source, capture_output=True).returncode == 0


def check_world_size(world_size: int) -> None:
    """Refuses a launch of several processes that started only one.

    `accelerate launch --cpu --num_processes 2` silently starts a single process
    (accelerate issue 2741).
    """
    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched > 1 and world_size == 1:
        raise UserError(
            f"{launched} processes were launched, but they do not train together. "
            "Without a GPU, pass `--use_cpu true`. With GPUs, see configs/accelerate/."
        )
    if launched > 1:
        return
    requested = _requested_processes()
    if requested > 1:
        raise UserError(
            f"accelerate launch was asked for {requested} processes and started one. "
            f"Without GPUs, use `torchrun --nproc_per_node {requested} …`."
        )


def _requested_processes() -> int:
    """Returns the number of processes that `accelerate launch` was asked for, or 1."""
    import psutil
    import yaml

    try:
        command = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):
        return 1
    # The command is `accelerate launch` or `python -m accelerate.commands.launch`.
    if not any(re.search(r"\blaunch$", word) for word in command):
        return 1
    from accelerate.commands.config.config_args import default_yaml_config_file  # slow to import

    words: list[str] = []
    for word in command:
        words += word.split("=", 1) if word.startswith("--") else [word]
    options = {name.replace("-", "_"): value for name, value in itertools.pairwise(words)}
    if "__num_processes" in options:
        return int(options["__num_processes"])
    config = Path(options.get("__config_file", default_yaml_config_file))
    if not config.is_file():
        return 1
    settings = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    return int(settings.get("num_processes") or 1)


def unused_gpus() -> str:
    """Returns a hint if this process uses only one of several GPUs, else an empty string."""
    import torch

    count = torch.cuda.device_count()
    if count < 2 or "WORLD_SIZE" in os.environ:
        return ""
    return f"; uses 1 of {count} GPUs. For all, use accelerate launch"


def describe(bf16: bool) -> str:
    """Returns the device and the number format, for the log and the model card."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        name = f"CPU, {torch.get_num_threads()} threads"
    if bf16:
        return f"{name}; bfloat16"
    return f"{name}; float32" + ("" if has_fast_bfloat16() else " (no bfloat16 hardware)")
