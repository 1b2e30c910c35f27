"""A run that was killed while torch compiled a kernel does not stop the runs after it."""

import _ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from helpers import ROOT
from transformers import GPT2Config, GPT2LMHeadModel, TrainingArguments
from trl import SFTConfig

from poet import device
from poet.speed import compile_cache, decode, scoring
from poet.speed.apply import apply_speedups

linux = pytest.mark.skipif(sys.platform != "linux", reason="the files of a linker on Linux")
needs_compiler = pytest.mark.skipif(not compile_cache.ready(), reason="there is no compiler")
WHOLE = Path(_ctypes.__file__).read_bytes()  # a real shared object


def kernel(cache: Path, content: bytes, name: str = "cabc.main.so") -> Path:
    path = cache / name[1:3] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@linux
@pytest.mark.parametrize(
    "left",
    [b"", WHOLE[:40], WHOLE[:100], WHOLE[: len(WHOLE) // 2], WHOLE[:-1], bytes(64) + WHOLE[64:]],
    ids=["empty", "half a head", "a head", "half", "all but a byte", "no head yet"],
)
def test_a_part_of_a_kernel_is_removed_and_a_line_says_so(tmp_path, capsys, left):
    broken, whole = kernel(tmp_path, left), kernel(tmp_path, WHOLE, "cdef.so")
    source = kernel(tmp_path, b"", "cghi.cpp")
    compile_cache.remove_broken_kernels(tmp_path)
    assert not broken.exists() and whole.read_bytes() == WHOLE and source.exists()
    assert capsys.readouterr().err == (
        f"removed 1 broken kernel from {tmp_path}: a run was killed while it compiled. "
        "Compiling again\n"
    )
    compile_cache.remove_broken_kernels(tmp_path)
    assert capsys.readouterr().err == ""


@linux
def test_a_kernel_that_another_process_compiles_stays(tmp_path, capsys):
    path = kernel(tmp_path, WHOLE[:100])
    (tmp_path / "locks").mkdir()
    with FileLock(tmp_path / "locks" / "cabc.lock"):  # as torch names it
        compile_cache.remove_broken_kernels(tmp_path)
        assert path.exists() and capsys.readouterr().err == ""
    compile_cache.remove_broken_kernels(tmp_path)
    assert not path.exists()


@pytest.fixture
def broken(tmp_path, monkeypatch) -> Path:
    """A part of a kernel in the cache of this process."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    return kernel(tmp_path / "cache", b"")


def model() -> GPT2LMHeadModel:
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_positions=12, n_embd=16, n_layer=1, n_head=2)
    )


@needs_compiler
@pytest.mark.parametrize("stage", ["pretrain", "dpo"])
def test_training_and_scoring_repair_the_cache_first(broken, tmp_path, stage):
    settings = {"output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}
    if stage == "pretrain":
        args = TrainingArguments(**settings, torch_compile=True)
    else:
        args = SFTConfig(**settings)
    apply_speedups(model(), args, stage=stage, compile_scoring=stage == "dpo")
    scoring.unpatch_trl_scoring()
    assert not broken.exists()


@needs_compiler
def test_writing_in_a_large_batch_repairs_the_cache_first(broken, monkeypatch):
    monkeypatch.setattr(device, "has_fast_bfloat16", lambda: True)
    decode._Step(model().eval(), decode.COMPILED_FROM - 1, 12)
    assert broken.exists()  # nothing is compiled
    decode._Step(model().eval(), decode.COMPILED_FROM, 12)
    assert not broken.exists()


@pytest.fixture
def build(tmp_path):
    """Returns a function that compiles a file with a precompiled header, as torch does."""
    from torch._inductor import codecache, cpp_builder

    def compile_with(header: bytes | None) -> Path:
        """Gives the precompiled header these bytes, unless they are None."""
        source, locks = tmp_path / "head.h", tmp_path / "locks"
        locks.mkdir(exist_ok=True)
        source.write_text("#include <vector>\n")
        options = cpp_builder.CppOptions(precompiling=True)
        precompiler = cpp_builder.CppBuilder(str(source), str(source), options)
        codecache._worker_compile_cpp(str(locks / "head.lock"), (precompiler,))
        if header is not None:
            Path(f"{source}.gch").write_bytes(header)
        code = tmp_path / "code.cpp"
        code.write_text("int size() { return std::vector<int>(3).size(); }\n")
        options = cpp_builder.CppOptions()
        options.precompiled_header = str(source)
        builder = cpp_builder.CppBuilder("code", str(code), options, str(tmp_path))
        codecache._worker_compile_cpp(str(locks / "code.lock"), (builder,))
        return Path(builder.get_target_file_path())

    return compile_with


@needs_compiler
def test_a_part_of_the_precompiled_header_is_replaced(build, tmp_path, monkeypatch, capsys):
    from torch._inductor import codecache, exc

    monkeypatch.setattr(codecache, "_HEADER_LOCK_DIR", str(tmp_path / "locks"))
    header = tmp_path / "head.h.gch"
    build(None).unlink()
    part = header.read_bytes()[:5000]
    with monkeypatch.context() as plain:  # torch alone
        plain.setattr(codecache, "_worker_compile_cpp", codecache._worker_compile_cpp.unpatched)
        with pytest.raises(exc.CppCompileError):
            build(part)
    assert build(part).is_file() and not header.exists()
    assert f"removed {header}: a run was killed" in capsys.readouterr().err
    assert build(None).is_file() and header.stat().st_size > 5000


SCRIPT = """
import torch
from poet.speed import compile_cache
assert compile_cache.ready()
print(torch.compile(lambda x: x.sin() * 2, dynamic=True)(torch.zeros(3)).tolist())
"""


@linux
@needs_compiler
@pytest.mark.slow
def test_the_next_process_compiles_again_what_a_killed_one_left(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),  # precompiled headers lie there
    }

    def run() -> str:
        command = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "[0.0, 0.0, 0.0]\n"
        return done.stderr

    assert "removed" not in run()
    (kernel,) = (tmp_path / "cache").glob("*/*.main.so")
    whole = kernel.stat().st_size
    (header,) = tmp_path.glob("torchinductor_*/precompiled_headers/*.gch")
    os.truncate(kernel, 10)
    os.truncate(header, header.stat().st_size // 2)
    said = run()
    assert f"removed 1 broken kernel from {tmp_path / 'cache'}" in said
    assert f"removed {header}: a run was killed" in said
    assert kernel.stat().st_size == whole and "removed" not in run()


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_traced_step_under_autocast_comes_from_the_cache(dtype):
    from torch._dynamo.utils import counters
    from torch._inductor.utils import fresh_cache

    def step(x, weight, dtype):
        with torch.autocast("cpu", dtype=dtype):
            return (x @ weight).float().square().sum()

    compile_cache.keep_traces()
    x = torch.ones(4, 8)
    with fresh_cache():
        results = []
        for _ in range(2):  # the second time as in a new process
            torch._dynamo.reset()
            counters.clear()
            weight = torch.full((8, 2), 0.3, requires_grad=True)
            loss = torch.compile(step)(x, weight, dtype)
            loss.backward()
            results.append((loss.item(), weight.grad.tolist()))
        assert counters["aot_autograd"]["autograd_cache_hit"] == 1
        assert results[0] == results[1]
        torch._dynamo.reset()
        counters.clear()
        other = torch.float16 if dtype == torch.bfloat16 else torch.bfloat16
        torch.compile(step)(x, weight, other)  # another mode is another graph
        assert counters["aot_autograd"]["autograd_cache_hit"] == 0
