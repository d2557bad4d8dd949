"""A stand-in for a CUDA graph on any device: it records the operations of a step and does them again.

Like a graph it keeps the tensors that each operation read and wrote, with every number of Python as it was at
the recording, and no Python of the step runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ebbench.conformance.noise import NoiseData
from ebbench.contract import DataSpec, Model
from ebbench.data.pool import Pool
from ebbench.nn import rate
from ebbench.plugins import introspection, loader
from ebbench.running import seeds
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun

SPEC = DataSpec(name="noise", shape=(3, 28, 28), low=-1.0, high=1.0)
# A rate that float32 has: a graph reads its rate in float32.
RATE = 2.0**-12
# Methods with every kind of step: a weight that changes, an average, both sets of latents, dropout.
MEG = {"width": 4, "mi_width": 4, "mi_hidden": 8, "z_dim": 6, "energy_steps": 2, "calibration_size": 64}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "meg": ("meg", MEG),
    "meg, all terms": (
        "meg",
        MEG
        | {"penalty_end": 0.5, "information": "donsker-varadhan", "average": 0.1}
        | {"lr_end": 0.1, "fresh_latents": False},
    ),
    "wgan-gp": (
        "wgan-gp",
        {"width": 4, "z_dim": 6, "critic_steps": 2, "average": 0.1, "lr_decay": "linear", "lr_end": 0.0},
    ),
    "sngan": ("sngan", {"width": 4, "z_dim": 6, "critic_steps": 2, "lr_end": 0.1}),
    "ebgan": (
        "ebgan",
        {"generator_layers": (16,), "encoder_layers": (16,), "z_dim": 6, "pulling": 0.1, "dropout": 0.2},
    ),
}


class Tape(TorchDispatchMode):
    """What `ebbench.running.capture.Graph` asks for, by recording and repeating each operation."""

    def __init__(self, device: torch.device | None = None) -> None:
        super().__init__()
        self.warm, self.recordings, self.replays = 0, 0, 0
        self._operations: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def warm_up(self, work: Callable[[], Any]) -> Any:
        self.warm += 1
        return work()

    def record(self, work: Callable[[], Any]) -> Any:
        self.recordings += 1
        random = torch.get_rng_state()
        try:
            with self:
                made = work()
        finally:
            # A graph is recorded without computing anything.
            torch.set_rng_state(random)
            with torch.no_grad():
                for tensor, value in self._before.values():
                    tensor.copy_(value)
        return made

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for function, args, kwargs, made in self._operations:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old is not new:
                    old.copy_(new)

    def abandon(self) -> None:
        self._operations.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        named = dict(zip((a.name for a in schema.arguments), args, strict=False)) | kwargs
        written = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        if "running_mean" in named:  # written to, whatever the schema says
            written += ["running_mean", "running_var"]
        for tensor in tree_leaves([named.get(name) for name in written]):
            if isinstance(tensor, Tensor):
                self._before.setdefault(id(tensor), (tensor, tensor.detach().clone()))
        made = func(*args, **kwargs)
        view = any(r.alias_info is not None for r in schema.returns) and not written
        if not view:  # a view shares the memory of what it was taken of
            self._operations.append((func, args, kwargs, made))
        return made


def no_graph(device: torch.device) -> None:
    """For a training whose steps run as they are."""


def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules give rates that float32 has, so that a step as it is has the same as a graph."""
    exact = rate._set
    monkeypatch.setattr(
        rate, "_set", lambda value, groups: exact(torch.tensor(value, dtype=torch.float32).item(), groups)
    )


def built(method: str, steps: int, device: torch.device) -> Model:
    """An untrained model of METHODS."""
    name, settings = METHODS[method]
    plugin = loader.load("model", name)
    seeds.seed_everything(0)
    model: Model = plugin.cls(SPEC, plugin.cls.Config(steps=steps, batch_size=4, lr=RATE, **settings))
    model.device = device
    for net in introspection.nets(model).values():
        net.to(device)
    return model


def train(
    model: Model,
    folder: Path,
    graph: Callable[[torch.device], Any],
    stop: StopRequest | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> TrainingRun:
    """Train a model on noise; gives its run."""
    device = model.device
    seeds.seed_everything(1)
    run = TrainingRun(
        model,
        folder,
        seed=3,
        device=device,
        stop=stop or StopRequest(),
        reporter=reporter or Reporter(),
        graph=graph,
        **settings,
    )
    model.train(Pool(NoiseData(model.data)[torch.arange(256)], None, model.data, device), run)
    return run


def apart(one: Any, other: Any) -> float:
    """The largest difference of two trees of tensors; infinite where they hold different things."""
    ones, others = tree_leaves(one), tree_leaves(other)
    assert len(ones) == len(others)
    largest = 0.0
    for a, b in zip(ones, others, strict=True):
        if isinstance(a, Tensor):
            gap = 0.0 if torch.equal(a, b) else float((a.double() - b.double()).abs().max())
        else:
            gap = 0.0 if a == b else float("inf")
        largest = max(largest, gap) if gap == gap else float("inf")
    return largest
