"""Measures the memory for making the data sets of a corpus that is larger than memory.

    python benchmarks/larger_than_memory.py --corpus FOLDER --gigabytes 2

It copies the JSON files of FOLDER until the copies have that size. Then it runs the data stage on
the copies with `--streaming true`. The last line has the peak memory and the time of that stage.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from poet import errors
from poet.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def repeat_files(source: Path, target: Path, size: int) -> int:
    files = sorted(source.glob("*.json"))
    if not files:
        raise UserError(f"{source} has no .json files. Pass a folder of .json files as --corpus.")
    written = copies = 0
    while written < size:
        for file in files:
            content = file.read_bytes()
            (target / f"{copies:03}-{file.name}").write_bytes(content)
            written += len(content)
        copies += 1
    return written


def main() -> int:
    parser = errors.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder, "copies")
        copies.mkdir()
        size = repeat_files(options.corpus, copies, int(options.gigabytes * 1e9))
        command = [sys.executable, str(ROOT / "run.py"), "--recipe", "own", "--stages", "data"]
        command += ["--corpus", str(copies), "--streaming", "true"]
        started = time.perf_counter()
        code = subprocess.run([*command, "--output_dir", str(Path(folder, "run"))]).returncode
        seconds = time.perf_counter() - started
    if code:
        return code  # run.py has said why
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{size / 1e9:.2f} GB of texts: peak memory {peak:,.0f} MB, {seconds:,.0f} s")
    return 0


if __name__ == "__main__":
    errors.run(main)
