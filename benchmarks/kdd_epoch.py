"""An epoch of MEG on KDD99: ours, and the same step over a plain DataLoader, and their ratio.

    python benchmarks/kdd_epoch.py [--repeats 3] [--data-dir DIR]

The plain one is what a first implementation looks like: a `TensorDataset` in a shuffling `DataLoader` (once
without worker processes, once with two), the same model code, Adam and all. The three take turns, so that a
change of the machine's speed meets all; the ratios are those of their fastest turns. The time from the
packed file to tensors is printed too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from ebbench import loader, seeds, spec
from ebbench.contract import Data
from ebbench.data.store import Store
from ebbench.progress import Reporter
from ebbench.signals import StopRequest
from ebbench.training import Run


class PlainRun:
    """A loop over a DataLoader in place of the engine's."""

    progress = 0.0

    def __init__(self, data: Data, workers: int) -> None:
        self.workers = workers
        self.examples = TensorDataset(data[torch.arange(len(data))])

    def batches(self, data: Data, *, size: int, epochs: int) -> Iterator[torch.Tensor]:
        """The shuffled batches of one epoch."""
        loaded = DataLoader(self.examples, size, shuffle=True, drop_last=True, num_workers=self.workers)
        for (x,) in loaded:
            yield x

    def log(self, **scalars: torch.Tensor) -> None:
        """The losses as numbers, as a first implementation prints or plots them."""
        for value in scalars.values():
            value.item()


def seconds(config: Any, data: Data, make_run: Callable[[Any, Path], Any]) -> float:
    """How long the steps take."""
    seeds.seed_everything(0)
    model = loader.load("model", "meg").cls(data.spec, config)
    model.device = data.device
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(model, Path(folder))
        began = time.perf_counter()
        model.train(data, run)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)

    began = time.perf_counter()
    plugin = loader.load("task", "kdd99")
    (task,) = plugin.cls(plugin.cls.Options(), "clean", Store(arguments.data_dir)).parts(0).values()
    data = task.data(torch.device("cpu"))
    print(f"from the packed file to tensors: {time.perf_counter() - began:.1f} s, {len(data):,} examples")

    values = spec.budget_values(loader.load("model", "meg"), "paper", "kdd99")
    config = spec.build_config(loader.load("model", "meg").cls.Config, values, "card.toml")
    epoch = len(data) // config.batch_size
    ours: Callable[[Any, Path], Any] = lambda model, folder: Run(  # noqa: E731
        model,
        folder,
        seed=0,
        device=data.device,
        stop=StopRequest(),
        reporter=Reporter(),
        most_steps=epoch,
    )
    ways = {
        "ours": ours,
        "DataLoader": lambda model, folder: PlainRun(data, 0),
        "DataLoader, 2 workers": lambda model, folder: PlainRun(data, 2),
    }
    fastest = dict.fromkeys(ways, float("inf"))
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            fastest[name] = min(fastest[name], seconds(config, data, way))
    for name, taken in fastest.items():
        print(
            f"{name:<22} {taken:6.1f} s an epoch of {epoch} steps, {taken / fastest['ours']:.2f} times ours"
        )
    print(f"threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
