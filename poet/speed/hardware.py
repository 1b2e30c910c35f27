"""What this machine does fast: bfloat16, a compiler, threads, the number of processes that were asked for.

Knows processors and launchers; knows nothing of models or data. Each decision is said in one line at the start of a run.
"""

import ctypes
import functools
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

from poet.errors import UserError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def has_fast_bfloat16() -> bool:
    """Whether bfloat16 products run on hardware made for them: a GPU that supports them, or AVX512-BF16 or AMX.

    Elsewhere a CPU emulates them, several times slower than float32.
    """
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def has_accelerator() -> bool:
    import torch

    return torch.accelerator.is_available()


def fastest_device() -> "torch.device":
    """An NVIDIA GPU if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def undisturbed_random_numbers(device: "torch.device"):
    """A context whose draws, on the CPU and on `device`, are taken back at its end; of other GPUs nothing is touched."""
    import torch

    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@functools.cache
def has_compiler() -> bool:
    """Whether `torch.compile` can build its kernels: on a CPU that needs a C++ compiler that finds its headers and Python's, on an NVIDIA
    GPU one for C and Python's headers.

    Tried out, since Python's are often missing where a system has packed them apart, and a Mac has a name for a compiler before it has one.
    """
    if fastest_device().type == "cuda":  # as Triton chooses
        return _compiles(os.environ.get("CC") or shutil.which("gcc") or "clang", "c", "")
    if has_accelerator():
        return True
    # As torch chooses.
    compiler = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
    return _compiles(compiler, "c++", "#include <cmath>\n")


def _compiles(compiler: str, language: str, headers: str) -> bool:
    if shutil.which(compiler) is None or sys.platform == "win32":
        return shutil.which(compiler) is not None
    command = [compiler, "-fsyntax-only", "-I", sysconfig.get_path("include"), "-x", language, "-"]
    source = f"{headers}#include <Python.h>\n".encode()
    return not subprocess.run(command, input=source, capture_output=True).returncode


def matmul_gflops(dtype: "torch.dtype") -> float:
    """What the machine does in matrix products, in 10^9 operations a second: the median of five.

    Of 2,048 x 2,048 matrices; on a GPU, which needs more to be busy, of 8,192 x 8,192.
    """
    import torch

    device, size = (
        (torch.accelerator.current_accelerator(), 8192)
        if has_accelerator()
        else (torch.device("cpu"), 2048)
    )
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(7):  # the first two warm up
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # a GPU is waited for
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[2:]) / 1e9


def use_all_cores() -> None:
    """Gives each process its share of the cores.

    `accelerate launch` and `torchrun` set OMP_NUM_THREADS=1 where nothing else is said, which halves the speed of two cores.
    """
    import torch

    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    launched = {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"} & os.environ.keys()
    if launched and os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(max(1, cores // processes))


def keep_freed_memory() -> str:
    """Lets the C library keep what one step frees for the next, in place of giving it back and getting it zeroed anew.

    Only glibc does otherwise and can be asked; elsewhere nothing happens. Says what came of it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        # Blocks of any size come from the heap, and the heap does not shrink.
        kept = mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (AttributeError, OSError, TypeError):
        kept = False
    return "freed memory is kept" if kept else "the allocator as it is (only glibc's was tried)"


def check_world_size(world_size: int) -> None:
    """Refuses a launch that was asked for several processes and got one.

    `accelerate launch --cpu --num_processes 2` starts a single process without a word (accelerate#2741).
    """
    import psutil
    import yaml

    launched = int(os.environ.get("WORLD_SIZE", 1))
    if launched > 1 and world_size == 1:
        raise UserError(
            f"{launched} processes were launched and each would train by itself; without a GPU pass --use_cpu true, "
            "with GPUs see configs/accelerate/"
        )
    if launched > 1:
        return
    try:
        command = psutil.Process().parent().cmdline()
    except (psutil.Error, AttributeError):
        return
    if not any(
        re.search(r"\blaunch$", word) for word in command
    ):  # `accelerate launch`, `-m accelerate.commands.launch`
        return
    from accelerate.commands.config.config_args import default_yaml_config_file  # slow to import

    words = [
        part
        for word in command
        for part in (word.split("=", 1) if word.startswith("--") else [word])
    ]
    options = {name.replace("-", "_"): value for name, value in zip(words, words[1:])}
    asked, config = (
        options.get("__num_processes"),
        Path(options.get("__config_file", default_yaml_config_file)),
    )
    if asked is None and config.is_file():
        asked = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("num_processes")
    if asked is not None and int(asked) > 1:
        raise UserError(
            f"accelerate launch was asked for {asked} processes and started one; on a machine without GPUs use "
            f"`accelerate launch --multi_gpu --num_processes {asked} …` or `torchrun --nproc_per_node {asked} …`"
        )


def unused_gpus() -> str:
    """What to say of GPUs that this process leaves alone."""
    import torch

    if torch.cuda.device_count() < 2 or "WORLD_SIZE" in os.environ:
        return ""
    return f"; one of {torch.cuda.device_count()} GPUs: `accelerate launch` trains on all, see configs/accelerate/"


def describe(bf16: bool, compiled: bool, scoring: bool = False) -> str:
    """One line: which fast path a run takes and why."""
    import torch

    device = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads"
    )
    precision = (
        "bfloat16"
        if bf16
        else "float32" + ("" if has_fast_bfloat16() else " (no bfloat16 hardware)")
    )
    if compiled:
        path = "torch.compile"
    elif has_compiler():
        path = "eager, scores compiled" if scoring else "eager"
    else:
        path = "eager (no compiler that works was found, with one and Python's headers training is about a third faster)"
    return f"{device}; {precision}; {path}"
