"""The benchmark scripts run, and print what they promise; their figures are none of a test's business."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.medium
@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (
            "step.py --width 4 --batch 8 --critic-steps 1 --steps 1 --repeats 1",
            r"alone: \d+ GFLOP/s at most\nwgan-gp +plain [\d.]+, ours [\d.]+ steps a second: [\d.]+ times\n"
            r" +ours has [\d.]+% of that .*\nmeg +plain",
        ),
        pytest.param(
            "fid.py --images 2 --features 300 --size 64 --repeats 1",
            r"statistics of 300 features: ours .*\nthe last step: .* times; values differ by \d.*\n"
            r"precision and recall of 75 features: .*\nfeatures of 2 images: .*\nIS and FID of 2 images",
            marks=pytest.mark.slow,
        ),
        ("engine_overhead.py --steps 5 --repeats 1", r"bare loop .*\nrun\.batches .*\nratio +\d"),
    ],
)
def test_a_benchmark_measures(words: str, printed: str):
    script, *options = words.split()
    command = [sys.executable, str(BENCHMARKS / script), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert re.search(printed, said.stdout), said.stdout


@pytest.mark.medium
def test_a_plan_s_operations_are_counted(tmp_path: Path):
    (tmp_path / "plan.toml").write_text(
        '[[runs]]\ntasks = ["toy2d"]\nmodels = ["vae"]\nbudgets = ["smoke"]\nseeds = "0-1"\n'
        'set = { law = "8gaussians", layers = [7], z_dim = 3, batch_size = 32, steps = 500 }\n'
    )
    command = [sys.executable, str(BENCHMARKS / "paper_hours.py"), "--plan", str(tmp_path / "plan.toml")]
    said = subprocess.run([*command, "--tflops", "1"], capture_output=True, text=True, check=True)
    # 2 -> 7 -> 2 * 3 and 3 -> 7 -> 2: three products a layer and example, but none for the data's gradient.
    operations = 2 * 32 * (3 * (2 * 7 + 7 * 6 + 3 * 7 + 7 * 2) - 2 * 7)
    found = re.search(
        r"^toy2d vae law=8gaussians: (\S+) GFLOP and (\d+) calls a step, 500 steps: (\S+) min$",
        said.stdout,
        re.M,
    )
    assert found is not None and found[1] == f"{operations / 1e9:.4g}", said.stdout
    # Six layers forward and back, and Adam at the least; small nets wait for their calls, 10 us each.
    calls = int(found[2])
    assert 30 < calls < 300 and float(found[3]) == pytest.approx(500 * calls * 1e-5 / 60, abs=0.06)
    assert (
        said.stdout.count("min\n") == 1
        and "in all 0.0 h a seed at 1 TFLOP/s, 10 us a call, 4 in a graph" in said.stdout
    )
