"""Keeps the rows of a benchmark as JSON, and writes them as a Markdown table.

It knows the machine and the commit. It does not know how a row was measured.
"""

import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from commands import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def row(
    name: str, value: float, unit: str, compared_with: str, shapes: str, command: str
) -> dict[str, Any]:
    """Prints one measurement and returns its row.

    Args:
        unit: "times", "of 1" for a share, "s", "GB" or "nats".
        compared_with: the thing that the value is relative to, or "nothing".
        shapes: the sizes and the settings of the measurement.
        command: the command that was measured.
    """
    print(f"{name}: {value:.3f} {unit}", flush=True)
    return {
        "name": name, "value": round(value, 4), "unit": unit, "compared_with": compared_with,
        "shapes": shapes, "command": command,
    }  # fmt: skip


def save(result: dict[str, Any], name: str, heading: str) -> None:
    """Writes results/NAME.json and results/NAME.md."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(heading + table(result["rows"]), encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as a Markdown table. A row of an earlier run names its commit."""
    lines = ["| row | value | compared with | setting | command |", "|---|---|---|---|---|"]
    for each in rows:
        value = f"{each['value']:.3f} {each['unit'].removeprefix('of 1')}".strip()
        setting = each["shapes"] + (f" (commit {each['commit']})" if "commit" in each else "")
        lines.append(
            f"| `{each['name']}` | {value} | {each['compared_with']} | {setting} "
            f"| `{each['command']}` |"
        )
    return "\n".join(lines) + "\n"


def commit_here() -> str:
    """Returns the short hash of the checked-out commit."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def describe_cpu() -> dict[str, Any]:
    """Returns the processor, the number of cores, and the GFLOP/s of matrix products."""
    import torch

    from poet.speed.hardware import matmul_gflops

    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = {
        "cpu": model[1] if model else platform.processor(),
        "cores": cores,
        "matmul_float32_gflops": round(matmul_gflops(torch.float32)),
        "matmul_bf16_gflops": round(matmul_gflops(torch.bfloat16)),
    }
    print(machine, flush=True)
    return machine
