"""Measure the peak memory of a few training steps of a model on images of a given size.

    python benchmarks/memory.py [--model ebgan] [--sizes 64 128 256] [--batch 64] [--set nets=deep ...]

On the processor it is the peak of the process (resident), with torch itself, each size in a process of its
own. The pictures are noise, and no more of them than a batch.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from ebbench.contract import DataSpec
from ebbench.data.pool import Pool
from ebbench.plugins import loader
from ebbench.plugins.configs import build_config
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="ebgan")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=["nets=deep"])
    parser.add_argument("--one", action="store_true", help="this size in this process")
    a = parser.parse_args()
    for size in a.sizes:
        if a.one:
            step(a.model, size, a.batch, a.steps, a.set)
            continue
        words = [*("--model", a.model), *("--batch", str(a.batch)), *("--steps", str(a.steps))]
        words += ["--sizes", str(size), "--one", "--set", *a.set]
        subprocess.run([sys.executable, __file__, *words], check=True)


def step(model: str, size: int, batch: int, steps: int, settings: list[str]) -> None:
    """Train a model for a number of steps on noise, and print the peak."""
    torch.manual_seed(0)
    spec = DataSpec(name="noise", shape=(3, size, size), low=-1.0, high=1.0)
    values = dict(word.split("=", 1) for word in settings)
    known = {name: _value(text) for name, text in values.items()}
    cls = loader.load("model", model).cls
    made = cls(spec, build_config(cls.Config, {"steps": steps, "batch_size": batch, **known}, "--set"))
    made.device = torch.device("cpu")
    noise = torch.randint(0, 256, (batch, *spec.shape), dtype=torch.uint8)
    before = _peak()
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun(
            made, Path(folder), seed=0, device=made.device, stop=StopRequest(), reporter=Reporter()
        )
        began = time.perf_counter()
        made.train(Pool(noise, None, spec, made.device), run)
        seconds = time.perf_counter() - began
    nets = [value for value in vars(made).values() if isinstance(value, torch.nn.Module)]
    parameters = sum(p.numel() for net in nets for p in net.parameters())
    print(
        f"{model}, {size}x{size}, batch {batch}: {_peak():.2f} GB at most ({before:.2f} before the step), "
        f"{parameters / 1e6:.1f} million weights, {seconds / steps:.1f} s a step",
        flush=True,
    )


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _peak() -> float:
    # Linux counts in kilobytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main()
