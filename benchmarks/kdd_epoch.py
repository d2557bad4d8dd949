"""Time an epoch of MEG on KDD99: ours, a plain implementation of the same step, and their ratio.

    python benchmarks/kdd_epoch.py [--repeats 3] [--data-dir DIR]

The plain one is a `TensorDataset` in a shuffling `DataLoader` (once without worker processes, once with two),
torch's Adam as it comes, and a step with one backward pass for each term of the loss, as MEG's released code
has it; the nets, the batch size and the mathematics of the step are the same. "DataLoader alone" is our step
over the plain loader. All take turns, so that a change of the machine's speed meets all; the ratios are those
of their fastest turns. The time from the packed file to tensors is printed too.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from ebbench.contract import Data
from ebbench.data.store import Store
from ebbench.plugins import budgets, configs, loader
from ebbench.running import seeds
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun


class Plain:
    """A training over a DataLoader in place of the engine's."""

    progress = 0.0

    def __init__(self, data: Data, workers: int) -> None:
        self.workers = workers
        self.examples = TensorDataset(data[torch.arange(len(data))])

    def captured(self, step: Any) -> Any:
        """Return the step unchanged."""
        return step

    def batches(self, data: Data, *, size: int, epochs: int) -> Iterator[torch.Tensor]:
        """The shuffled batches of one epoch."""
        loaded = DataLoader(self.examples, size, shuffle=True, drop_last=True, num_workers=self.workers)
        for (x,) in loaded:
            yield x

    def log(self, **scalars: torch.Tensor) -> None:
        """Fetch the losses as numbers, as a plain implementation does to print or plot them."""
        for value in scalars.values():
            value.item()

    def train(self, model: Any) -> None:
        """An epoch of MEG with one energy step for each generator step, term by term."""
        c = model.config
        optimisers = {
            net: torch.optim.Adam(getattr(model, net).parameters(), c.lr, (c.beta1, c.beta2)) for net in "EGH"
        }
        for x in self.batches(model.data, size=c.batch_size, epochs=1):
            optimisers["E"].zero_grad()
            energy_real = model.E(x).mean()
            energy_real.backward()
            fake = model.G(torch.randn(len(x), c.z_dim)).detach()
            energy_fake = model.E(fake).mean()
            (-energy_fake).backward()
            x = x.requires_grad_(True)
            (gradient,) = torch.autograd.grad(model.E(x).sum(), x, create_graph=True)
            penalty = c.penalty * gradient.square().sum(1).mean()
            penalty.backward()
            optimisers["E"].step()

            optimisers["G"].zero_grad()
            optimisers["H"].zero_grad()
            z = torch.randn(len(x), c.z_dim)
            fake = model.G(z)
            energy = model.E(fake).mean()
            energy.backward(retain_graph=True)
            together, apart = model.H(fake, z, z[torch.randperm(len(z))])
            entropy = (softplus(-together).mean() + softplus(apart).mean()) / 2
            entropy.backward()
            optimisers["G"].step()
            optimisers["H"].step()
            self.log(a=energy_real, b=energy_fake, c=penalty, d=entropy)


def seconds(config: Any, data: Data, make_run: Callable[[Any, Path], Any], *, plain: bool) -> float:
    """The seconds that the steps take."""
    seeds.seed_everything(0)
    model = loader.load("model", "meg").cls(data.spec, config)
    model.device = data.device
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(model, Path(folder))
        began = time.perf_counter()
        if plain:
            run.train(model)
        else:
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

    values = budgets.budget_values(loader.load("model", "meg"), "paper", "kdd99")
    config = configs.build_config(loader.load("model", "meg").cls.Config, values, "card.toml")
    epoch = len(data) // config.batch_size
    ours: Callable[[Any, Path], Any] = lambda model, folder: TrainingRun(  # noqa: E731
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
        "plain": lambda model, folder: Plain(data, 0),
        "plain, 2 workers": lambda model, folder: Plain(data, 2),
        "DataLoader alone": lambda model, folder: Plain(data, 0),
    }
    fastest = dict.fromkeys(ways, float("inf"))
    for _ in range(arguments.repeats):
        for name, way in ways.items():
            fastest[name] = min(fastest[name], seconds(config, data, way, plain=name.startswith("plain")))
    for name, taken in fastest.items():
        print(
            f"{name:<22} {taken:6.1f} s an epoch of {epoch} steps, {taken / fastest['ours']:.2f} times ours"
        )
    print(f"threads: {torch.get_num_threads()}")


if __name__ == "__main__":
    main()
