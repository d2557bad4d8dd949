"""Measure what the engine costs: time the same training step in `run.batches` and in a bare loop.

    python benchmarks/engine_overhead.py [--steps 300] [--repeats 7]

The step is WGAN-GP's at the smoke budget's size, on noise. The two loops take turns, so that a change of
the machine's speed meets both. The ratio is that of their fastest turns. The aim is a ratio under 1.03.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from ebbench.conformance.trials import NoiseData
from ebbench.contract import DataSpec
from ebbench.plugins import budgets, configs, loader
from ebbench.running import seeds
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun


class BareRun:
    """The loop of a method without an engine: it draws a batch and keeps nothing."""

    progress = 0.0

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def captured(self, step: Any) -> Any:
        """Return the step unchanged."""
        return step

    def batches(self, data: NoiseData, *, size: int, steps: int) -> Any:
        for _ in range(self.steps):
            yield data[torch.randint(len(data), (size,))]

    def log(self, **scalars: Any) -> None:
        """Do nothing."""


def seconds(plugin: loader.Plugin, config: Any, data: NoiseData, steps: int, engine: bool) -> float:
    """The seconds that a training of that many steps takes."""
    seeds.seed_everything(0)
    model = plugin.cls(data.spec, config)
    model.device = data.device
    with tempfile.TemporaryDirectory() as folder:
        run: Any = BareRun(steps)
        if engine:
            run = TrainingRun(
                model,
                Path(folder),
                seed=0,
                device=data.device,
                stop=StopRequest(),
                reporter=Reporter(),
                most_steps=steps,
            )
        began = time.perf_counter()
        model.train(data, run)
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    plugin = loader.load("model", "wgan-gp")
    values = budgets.budget_values(plugin, "smoke", "stackedmnist") | {"steps": 10**6}
    config = configs.build_config(plugin.cls.Config, values, "the smoke budget")
    data = NoiseData(DataSpec(name="noise", shape=(3, 28, 28), low=-1.0, high=1.0))
    best = {True: float("inf"), False: float("inf")}
    seconds(plugin, config, data, 20, engine=True)
    for _ in range(arguments.repeats):
        for engine in (False, True):
            best[engine] = min(best[engine], seconds(plugin, config, data, arguments.steps, engine))
    for engine, name in ((False, "bare loop"), (True, "run.batches")):
        print(f"{name:<12} {1000 * best[engine] / arguments.steps:8.3f} ms a step")
    print(f"ratio        {best[True] / best[False]:8.4f}")


if __name__ == "__main__":
    main()
