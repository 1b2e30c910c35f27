"""Runs a training script with its loss compiled, even if it trains only a few steps.

    python benchmarks/compiled.py train_sft.py --config configs/tang/sft.yaml --max_steps 30

A training script compiles its loss only if it trains on enough sequences to gain from it.
"""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from poet import errors


def main() -> None:
    from poet.training import stage

    stage.COMPILE_FROM = 0
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    errors.run(main)
