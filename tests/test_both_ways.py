"""The recipe `sample` trained with and without the speed-ups ends at the same losses."""

import pytest
from helpers import call, history


def curve(folder) -> dict[str, float]:
    rows = history(folder)
    return {
        f"{key} at step {row['step']}": row[key]
        for row in rows
        for key in ("loss", "eval_loss")
        if key in row
    }


@pytest.mark.slow
def test_a_plain_journey_follows_the_same_curves(sample_run, tmp_path):
    fast, _ = sample_run
    plain = tmp_path / "sample"
    done = call("run.py", "--recipe", "sample", "--plain", "--output_dir", str(plain), timeout=1500)
    assert done.returncode == 0, done.stderr
    for stage in ("pretrain", "sft", "dpo"):
        expected, found = curve(fast / stage), curve(plain / stage)
        assert expected.keys() == found.keys()
        for name in expected:
            assert found[name] == pytest.approx(expected[name], abs=0.05), f"{stage}: {name}"
