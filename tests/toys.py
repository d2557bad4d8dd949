"""A task and models small enough to train in a blink, written to a folder as a stranger would."""

from __future__ import annotations

import textwrap
from pathlib import Path

TASK = '''
from dataclasses import dataclass

import torch

from ebbench import DataSpec, Metric, Score, Task


@dataclass
class Dots:
    values: torch.Tensor
    spec: DataSpec

    @property
    def device(self):
        return self.values.device

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]

    def fresh(self, n, generator):
        return torch.rand(n, 2, generator=generator)


class DotsTask(Task):
    @dataclass(frozen=True)
    class Options:
        points: int = 256
        """How many."""

    version = 1
    protocols = {"clean": "As it should be.", "published": "As it was."}
    needs = "sample"
    metrics = (
        Metric(name="error", unit="", better="lower", doc="Distance of the means.", primary=True),
        Metric(name="spread", unit="", better="neither", doc="Standard deviation."),
    )

    def __init__(self, options, protocol, store):
        super().__init__(options, protocol, store)
        self.source = "dots"
        self.data_hashes = {"dots": "0" * 64}

    def data_key(self):
        return {"points": self.options.points}

    def spec(self):
        return DataSpec(name="dots", shape=(2,), low=0.0, high=1.0)

    def data(self, device):
        values = torch.rand(self.options.points, 2, generator=torch.Generator().manual_seed(0))
        return Dots(values.to(device), self.spec())

    def score(self, model, scoring):
        x = scoring.samples(100, lambda x: {"x": x.numpy()}, chunk=16)["x"]
        return Score({"error": float(abs(x.mean() - 0.5)), "spread": float(x.std())})
'''

MODEL = '''
import time
from dataclasses import dataclass

import torch
from torch import nn

from ebbench import Model, sampler


class Blob(Model):
    @dataclass(frozen=True)
    class Config:
        steps: int = 400
        """Steps."""
        lr: float = 1e-2
        """Learning rate."""
        pause: float = 0.0
        """Seconds to sleep at each step."""

    def __init__(self, data, config):
        super().__init__(data, config)
        self.net = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, *data.shape))

    def train(self, data, run):
        self.opt = torch.optim.Adam(self.net.parameters(), self.config.lr)
        for x in run.batches(data, size=32, steps=self.config.steps):
            loss = (self.sample(32) - x).square().mean() + 0.1 * torch.rand(())
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            time.sleep(self.config.pause)
            run.log(loss=loss)

    def sample(self, n):
        return torch.sigmoid(self.net(torch.randn(n, 3)))

    @sampler("shifted")
    def shifted(self, n, *, by: float = 0.0):
        return (self.sample(n) + by).clamp(0, 1)
'''

CARD = """
name = "{name}"
title = "{name}"

[budgets.smoke.default]
steps = 60

[budgets.cpu.default]
shifted.by = 0.125

[samplers.shifted.published]
by = 0.25

[variants.still]
summary = "Not trained."
set = {{ steps = 0 }}
control = true

[variants.large]
summary = "Other sizes."
set = {{ lr = 0.5, steps = 9 }}

[variants.large.budgets.smoke.dots]
steps = 7
"""


def write_task(folder: Path, code: str = TASK, name: str = "dots") -> Path:
    """A task's folder under `folder`."""
    return _write(folder / name, "task.py", code, f'name = "{name}"\ntitle = "Dots"\n')


def write_model(folder: Path, code: str = MODEL, name: str = "blob", card: str | None = None) -> Path:
    """A model's folder under `folder`."""
    return _write(folder / name, "model.py", code, card if card is not None else CARD.format(name=name))


def write_one_method(folder: Path, body: str, name: str = "odd") -> Path:
    """A model's folder whose class is `body`; it has no knobs."""
    code = "import torch\nfrom ebbench import Model\n\n\nclass Odd(Model):\n" + textwrap.indent(body, "    ")
    return write_model(folder, code, name, f'name = "{name}"\ntitle = "Odd"\n')


def _write(folder: Path, module: str, code: str, card: str) -> Path:
    folder.mkdir(parents=True)
    (folder / module).write_text(textwrap.dedent(code))
    (folder / "card.toml").write_text(card)
    (folder / "README.md").write_text("# A toy\n")
    return folder
