"""Estimate the cost of a plan's trainings: counted operations and launches, and minutes at assumed rates.

    python benchmarks/paper_hours.py [--plan PLAN] [--tflops 20] [--call 10] [--graph 4]

One step of each training is run on the CPU. The floating-point operations of its matrix products and
convolutions are counted, with all backward passes, and the calls of torch that compute something, of which
each is a kernel or a few. Minutes are those of seed 0, without scoring. A step takes the longer of two
times: its operations at so many TFLOP/s sustained, or its calls at so many microseconds each, for a step of
small nets waits for its launches. The rates are assumed: 10 us a call is about what Python and torch need to
launch one, 4 us what a short kernel takes in a CUDA graph, which some methods ask for (`run.captured`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
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
    """Count operations for which torch has a formula. torch's own counter fails on gradients of a leaf."""

    total = 0
    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` and count it."""
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.total += formula(*args, **kwargs, out_val=made)
        arguments, returns = func._schema.arguments, func._schema.returns
        writes = any(a.alias_info is not None and a.alias_info.is_write for a in arguments)
        # A view computes nothing.
        self.calls += writes or not any(r.alias_info is not None for r in returns)
        return made


class OneStep(TrainingRun):
    """A training that runs only the first step of each loop, and records how many steps were requested."""

    planned = 0
    asks_for_a_graph = False
    counter: Operations
    # The steps alone: a method may do more work before and after its loop.
    operations = 0.0
    calls = 0

    def captured(self, step: Any) -> Any:
        """Return the step unchanged."""
        self.asks_for_a_graph = True
        return step

    def batches(
        self, data: Data, *, size: int, steps: int | None = None, epochs: int | None = None
    ) -> Iterator[Tensor]:
        """The first batch of the loop."""
        self.planned += steps if steps is not None else (epochs or 0) * (len(data) // size)
        before = self.counter.total, self.counter.calls
        yield from super().batches(data, size=size, steps=steps, epochs=epochs)
        self.operations += self.counter.total - before[0]
        self.calls += self.counter.calls - before[1]

    def _save(self, loop: int) -> None:
        """Write no checkpoint, because its cost is not part of a step."""


@dataclass(frozen=True)
class Cost:
    """Operations and calls of one step, steps of one training, trainings of one result."""

    operations: float
    calls: float
    steps: int
    trainings: int
    graph: bool

    def minutes(self, tflops: float, microseconds: float) -> float:
        """The cost of all trainings."""
        step = max(self.operations / (tflops * 1e12), self.calls * microseconds * 1e-6)
        return self.steps * self.trainings * step / 60


def cost(resolved: spec.Spec, task: Any) -> Cost:
    """The cost of a result, from one step of its first training."""
    cpu = torch.device("cpu")
    parts = list(task.parts(0).values())
    seeds.seed_everything(0)
    model = resolved.model.cls(parts[0].spec(), resolved.config)
    model.device = cpu
    with tempfile.TemporaryDirectory() as folder:
        run = OneStep(
            model, Path(folder), seed=0, device=cpu, stop=StopRequest(), reporter=Reporter(), most_steps=1
        )
        with Operations() as run.counter:
            model.train(parts[0].data(cpu), run)
    steps = max(1, run.steps)
    return Cost(run.operations / steps, run.calls / steps, run.planned, len(parts), run.asks_for_a_graph)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", type=Path, default=Path("results/plans/paper-suite.toml"))
    parser.add_argument("--tflops", type=float, default=20.0)
    parser.add_argument("--call", type=float, default=10.0)
    parser.add_argument("--graph", type=float, default=4.0)
    a = parser.parse_args()
    store, total = Store(None), 0.0
    seen: set[str] = set()
    for job in plan.read_plan(a.plan):
        resolved = spec.resolve(job.request)
        task = resolved.task.cls(resolved.options, resolved.protocol, store)
        training = identify(resolved, task, 0).training
        # A model that builds on another training has almost no training of its own.
        if job.seed or training in seen or resolved.control or resolved.base is not None:
            continue
        seen.add(training)
        options = [f"{k}={v}" for k, v in resolved.changed_options().items()]
        name = " ".join([resolved.task.name, job.request.model, *options])
        found = cost(resolved, task)
        minutes = found.minutes(a.tflops, a.graph if found.graph else a.call)
        total += minutes
        many = f", {found.trainings} trainings" if found.trainings > 1 else ""
        print(
            f"{name}: {found.operations / 1e9:.4g} GFLOP and {found.calls:,.0f} calls a step"
            f"{' as a graph' if found.graph else ''}, {found.steps:,} steps{many}: {minutes:.1f} min",
            flush=True,
        )
    rates = f"{a.tflops:g} TFLOP/s, {a.call:g} us a call, {a.graph:g} in a graph"
    print(f"in all {total / 60:.1f} h a seed at {rates}")


if __name__ == "__main__":
    main()
