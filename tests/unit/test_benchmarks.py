"""The benchmark scripts run, and print what they promise; their figures are none of a test's business."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (
            "step.py --width 4 --batch 8 --critic-steps 1 --steps 1 --repeats 1",
            r"wgan-gp +plain [\d.]+, ours [\d.]+ steps a second: [\d.]+ times\nmeg +plain",
        ),
        (
            "fid.py --images 2 --features 300 --size 64 --repeats 1",
            r"statistics of 300 features: ours .*\nthe last step: .* times; values differ by \d.*\n"
            r"features of 2 images: .*\nIS and FID of 2 images",
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
