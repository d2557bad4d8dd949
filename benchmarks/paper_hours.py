"""What the trainings of a plan cost: floating-point operations, counted, and hours at a rate that is assumed.

    python benchmarks/paper_hours.py [--plan results/plans/paper-suite.toml] [--tflops 20]

One step of each training is run on the CPU and its matrix products and convolutions are counted, with all
backward passes. Hours are those of seed 0, without scoring, at so many TFLOP/s sustained; a step of small
nets waits for its launches instead, and there they are a lower bound.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ebbench.contract import Data
from ebbench.data.store import Store
from ebbench.running import seeds, spec
from ebbench.running.identity import identify
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun
from ebbench.sweeps import plan


class Operations(TorchDispatchMode):
    """Adds up the operations of what torch has a formula for; its own counter refuses gradients of a leaf."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` and count it."""
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **kwargs, out_val=made)
        return made


class OneStep(TrainingRun):
    """A training that takes the first step of each loop, and knows how many were asked for."""

    planned = 0

    def batches(
        self, data: Data, *, size: int, steps: int | None = None, epochs: int | None = None
    ) -> Iterator[Tensor]:
        """The first batch of the loop."""
        self.planned += steps if steps is not None else (epochs or 0) * (len(data) // size)
        yield from super().batches(data, size=size, steps=steps, epochs=epochs)


def cost(resolved: spec.Spec, task: Any) -> tuple[float, int, int]:
    """Operations of one step, steps of one training, trainings of one result."""
    cpu = torch.device("cpu")
    parts = list(task.parts(0).values())
    seeds.seed_everything(0)
    model = resolved.model.cls(parts[0].spec(), resolved.config)
    model.device = cpu
    with tempfile.TemporaryDirectory() as folder:
        run = OneStep(
            model, Path(folder), seed=0, device=cpu, stop=StopRequest(), reporter=Reporter(), most_steps=1
        )
        with Operations() as counted:
            model.train(parts[0].data(cpu), run)
    return counted.total / max(1, run.steps), run.planned, len(parts)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", type=Path, default=Path("results/plans/paper-suite.toml"))
    parser.add_argument("--tflops", type=float, default=20.0)
    a = parser.parse_args()
    store, total = Store(None), 0.0
    seen: set[str] = set()
    for job in plan.read_plan(a.plan):
        resolved = spec.resolve(job.request)
        task = resolved.task.cls(resolved.options, resolved.protocol, store)
        training = identify(resolved, task, 0).training
        # What builds on another training has next to none of its own.
        if job.seed or training in seen or resolved.control or resolved.base is not None:
            continue
        seen.add(training)
        options = [f"{k}={v}" for k, v in resolved.changed_options().items()]
        name = " ".join([resolved.task.name, job.request.model, *options])
        operations, steps, parts = cost(resolved, task)
        hours = operations * steps * parts / (a.tflops * 1e12) / 3600
        total += hours
        print(
            f"{name}: {operations / 1e9:.4g} GFLOP a step, {steps:,} steps"
            f"{f', {parts} trainings' if parts > 1 else ''}: {hours:.2f} h",
            flush=True,
        )
    print(f"in all {total:.1f} h a seed at {a.tflops:g} TFLOP/s")


if __name__ == "__main__":
    main()
