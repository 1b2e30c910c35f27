"""Repairs torch's cache of compiled kernels, and lets it keep traced graphs too.

It knows the files of that cache. It does not know what is compiled. torch trusts every kernel file
that exists. A killed compiler leaves half a file. Every later run that needs it ends with a
traceback. The same holds for the header that torch compiles once for all kernels.
"""

import functools
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from poet import device
from poet.speed.versions import CannotPatch, check_names, check_signature, check_version


def ready(plain: bool = False) -> bool:
    """Returns whether `torch.compile` can build its kernels. If so, first repairs its cache.

    Everything that compiles asks this before it compiles.

    Args:
        plain: whether torch stays unpatched.
    """
    if not device.has_compiler():
        return False
    from torch._inductor import codecache  # takes a second

    _repair(Path(codecache.cache_dir()), plain)
    return True


def keep_traces() -> None:
    """Lets torch's cache keep the traced graph of a step in bfloat16, and not only its kernels.

    Trainer switches autocast on and off inside the compiled function. torch does not know whether
    such a graph may be kept (`AOTAutogradCache`), and traces it again in each process. Keeping it
    is safe: the two functions of autocast only set a mode, and their arguments are part of the
    cache's key.

    Raises:
        CannotPatch: this version of torch is untested, or lacks a name that the patch needs.
    """
    import torch
    from torch._inductor import config

    check_version("torch")
    check_names(torch.amp.autocast_mode, "_enter_autocast", "_exit_autocast")
    check_names(config, "unsafe_marked_cacheable_functions")
    for name in ("_enter_autocast", "_exit_autocast"):
        name = f"torch.amp.autocast_mode.{name}"
        config.unsafe_marked_cacheable_functions[name] = torch.__version__


@functools.cache
def _repair(cache: Path, plain: bool) -> None:
    remove_broken_kernels(cache)
    if not plain:
        with suppress(CannotPatch):
            patch_compiler_to_replace_headers()


def remove_broken_kernels(cache: Path) -> None:
    """Removes shared objects that a killed linker left in `cache`, and says how many.

    A file stays if another process holds its lock, as that process is compiling it.
    """
    removed = 0
    for path in cache.glob("*/*.so"):
        with suppress(OSError, Timeout):
            if _is_whole(path):
                continue
            # torch names the lock by the key of the source, the first part of the file's name.
            with FileLock(cache / "locks" / f"{path.name.split('.')[0]}.lock", timeout=0):
                if not _is_whole(path):
                    path.unlink()
                    removed += 1
    if removed:
        _say(f"removed {removed} broken kernel{'s' * (removed > 1)} from {cache}")


def _is_whole(path: Path) -> bool:
    """Returns whether a shared object has all of its bytes, as far as its head tells.

    The head of an ELF file says where the table of sections lies, which is the file's end. A linker
    writes these two after everything else.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if sys.platform != "linux":
        return head != b""
    if len(head) < 64 or head[:4] != b"\x7fELF":
        return False
    (start,) = struct.unpack_from("Q", head, 0x28)
    size, count = struct.unpack_from("HH", head, 0x3A)
    return path.stat().st_size >= start + size * count


def patch_compiler_to_replace_headers() -> None:
    """Makes torch compile a kernel once more if its precompiled header may be broken.

    The compiler then reads the header's source, which takes longer. The next process precompiles
    the header again. Calling this again is harmless.

    Raises:
        CannotPatch: this version of torch is untested, or its names or arguments have changed.
    """
    from torch._inductor import codecache, exc

    check_version("torch")
    check_names(codecache, "_worker_compile_cpp", "_HEADER_LOCK_DIR")
    plain = getattr(codecache._worker_compile_cpp, "unpatched", codecache._worker_compile_cpp)
    check_signature(plain, "lock_path", "cpp_builders")

    @functools.wraps(plain)
    def compile_kernel(lock_path: str, cpp_builders: Sequence[Any]) -> None:
        try:
            plain(lock_path, cpp_builders)
        except exc.CppCompileError:
            if not any([_remove_header(each, codecache._HEADER_LOCK_DIR) for each in cpp_builders]):
                raise
            plain(lock_path, cpp_builders)

    compile_kernel.unpatched = plain  # type: ignore[attr-defined]
    codecache._worker_compile_cpp = compile_kernel


def _remove_header(builder: Any, locks: str) -> bool:
    """Removes the precompiled header of a build. Returns whether the build uses one."""
    source = getattr(builder._build_option, "precompiled_header", None)
    if not source:
        return False
    header = Path(f"{source}.gch")
    with FileLock(Path(locks) / f"{Path(source).stem}.lock"):
        if header.is_file():  # another thread may have removed it
            header.unlink()
            _say(f"removed {header}")
    return True


def _say(what: str) -> None:
    print(f"{what}: a run was killed while it compiled. Compiling again", file=sys.stderr)
