"""Uses this machine's cores and memory well, and measures its speed.

It knows threads and the C library. It does not know models or data.
"""

import ctypes
import os
import statistics
import time
from typing import TYPE_CHECKING

from poet.device import has_accelerator

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def matmul_gflops(dtype: "torch.dtype") -> float:
    """Returns the speed of matrix products in 10^9 operations per second, the median of five.

    On a CPU the matrices are 2,048 x 2,048. A GPU needs larger ones, 8,192 x 8,192.
    """
    import torch

    accelerator = torch.accelerator.current_accelerator() if has_accelerator() else None
    device, size = (accelerator, 8192) if accelerator else (torch.device("cpu"), 2048)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(7):  # the first two warm up
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[2:]) / 1e9


def use_all_cores() -> bool:
    """Gives each process its share of the cores, and returns whether that changed anything.

    `accelerate launch` and `torchrun` set OMP_NUM_THREADS=1 by default. On two cores that halves
    the speed.
    """
    import torch

    launched = {"ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"} & os.environ.keys()
    if not launched or os.environ.get("OMP_NUM_THREADS") != "1":
        return False
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    torch.set_num_threads(max(1, cores // processes))
    return True


def keep_memory() -> bool:
    """Keeps freed memory for the next step, and returns whether the C library can.

    By default, glibc returns large blocks to the system, which fills them with zeros before it
    hands them out again. Other C libraries stay unchanged.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        # Blocks of any size come from the heap, and the heap never shrinks.
        return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    except (AttributeError, OSError, TypeError):
        return False


def add_in_one_order() -> None:
    """Makes the same command give the same weights, if it trains a compiled model on a CPU.

    The gradient of an embedding is a sum over all positions of its token. By default, compiled code
    adds the terms from all threads at once, in any order, and rounds differently each time. A fixed
    order takes no longer. If torch has no version of an operation with a fixed order, it only
    warns.
    """
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling new memory would cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
