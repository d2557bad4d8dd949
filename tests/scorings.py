"""Models that draw or score as they are told, and a scoring of them without an engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ebbench.contract import DataSpec, Model, score
from ebbench.plugins.cards import ModelCard
from ebbench.plugins.plugin import Plugin
from ebbench.running.chunks import Chunks
from ebbench.running.scoring import Scoring
from ebbench.running.signals import StopRequest
from ebbench.running.sources import ModelSource

SPEC = DataSpec(name="x", shape=(2,), low=-1.0, high=1.0)


class Drawing(Model):
    """Draws by a function."""

    draw: Callable[[int], torch.Tensor]

    def sample(self, n: int) -> torch.Tensor:
        return type(self).draw(n)


def plain(n: int) -> torch.Tensor:
    return torch.rand(n, 2) * 2 - 1


def scoring(
    folder: Path,
    draw: Callable[[int], torch.Tensor] | None = None,
    *,
    seed: int = 0,
    stop: StopRequest | None = None,
    spec: DataSpec = SPEC,
    samples: Path | None = None,
    model: Model | None = None,
) -> Scoring:
    """A scoring of `model`, or of one that draws by a function, with its chunks in `folder`."""
    kind = type("Drawn", (Drawing,), {"draw": staticmethod(draw or plain)})
    source = ModelSource(
        model or kind(spec, None),
        plugin(folder),
        spec,
        seed=seed,
        device=torch.device("cpu"),
        sampler="generator",
    )
    return Scoring(
        source,
        spec,
        Chunks(folder),
        seed=seed,
        device=torch.device("cpu"),
        sampler="generator",
        images=samples,
        stop=stop,
    )


def plugin(folder: Path) -> Plugin:
    """A plug-in of which nothing but its name is asked."""
    made = Plugin("model", folder)
    vars(made)["card"] = ModelCard(name="odd", title="Odd")
    return made


def keep(x: torch.Tensor) -> dict[str, np.ndarray]:
    return {"x": x.numpy(), "sum": x.sum(1).numpy()}


class Scored(Model):
    def energy(self, x):
        return x.sum(1)

    @score("gradient_norm")
    def norm(self, x):
        return x.square().sum(1)

    def log_likelihood_bound(self, x):
        return -x.sum(1)


def scored(folder: Path, model: Model) -> Scoring:
    return scoring(folder, model=model)
