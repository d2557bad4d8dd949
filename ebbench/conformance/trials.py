"""A model tried on noise of a task's shape: training, resuming, storing, sampling, scoring."""

from __future__ import annotations

import dataclasses
import math
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ebbench import contract
from ebbench.conformance.reports import Report, reported
from ebbench.errors import ContractError, EbbenchError, PluginCrash, Stopped
from ebbench.plugins import budgets, configs, crash, introspection, loader
from ebbench.running import seeds
from ebbench.running.progress import Reporter
from ebbench.running.scoring import Scoring
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun
from ebbench.storage import state

# Training steps of the check: enough for a state of the optimiser, few enough for a wide net.
STEPS = 4


# More than a large batch, since an epoch needs a whole one.
EXAMPLES = 2048


class NoiseData:
    """Uniform noise in a spec's range (normal where it has none), in place of a data set.

    Its density is known, for the models that ask for it.
    """

    def __init__(self, data_spec: contract.DataSpec, examples: int = 512) -> None:
        self.spec = data_spec
        self.device = torch.device("cpu")
        self._values = self.fresh(examples, torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self._values[index]

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """(n, *shape) noise."""
        low, high = self.spec.low, self.spec.high
        if low is None or high is None:
            return torch.randn(n, *self.spec.shape, generator=generator)
        return low + (high - low) * torch.rand(n, *self.spec.shape, generator=generator)

    def log_density(self, x: Tensor) -> Tensor:
        """(n,), nats."""
        low, high = self.spec.low, self.spec.high
        flat = x.flatten(1)
        if low is None or high is None:
            return -(flat.square() + math.log(2 * math.pi)).sum(1) / 2
        return torch.full((len(x),), -flat.shape[1] * math.log(high - low))


def budget_for(plugin: loader.Plugin, task_name: str) -> str | None:
    """The smallest budget that the card has for a task; "" for a model without knobs; else None."""
    if not dataclasses.fields(plugin.cls.Config):
        return ""
    for budget in budgets.BUDGETS:
        tables = plugin.card.budgets.get(budget, {})
        if task_name in tables or "default" in tables:
            return budget
    return None


def base_of(plugin: loader.Plugin, config: Any) -> loader.Plugin | None:
    """The model that this one builds on under `config`."""
    field = plugin.cls.builds_on
    return loader.load("model", getattr(config, field)) if field else None


def check_on(
    plugin: loader.Plugin, task_name: str, data_spec: contract.DataSpec, budget: str, *, samples: bool
) -> Iterator[Report]:
    data = NoiseData(data_spec, EXAMPLES)
    config = _config_of(plugin, task_name, budget)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        trained: list[contract.Model] = []
        base: contract.Model | None = None
        if base_plugin := base_of(plugin, config):
            base_config = _config_of(base_plugin, task_name, budget_for(base_plugin, task_name) or "")
            base = _train(base_plugin, data, base_config, place / "base")
            for module in introspection.nets(base).values():
                module.eval()

        def trains() -> str:
            began = time.perf_counter()
            trained.append(_train(plugin, data, config, place / "whole", base=base))
            return f"{STEPS} steps in {time.perf_counter() - began:.1f} s"

        report = reported(f"trains on {task_name}", trains)
        yield report
        if not report.passed:
            return
        yield reported("resumes to the bit", lambda: _resumes(plugin, data, config, place, trained[0], base))
        yield reported("state round trip", lambda: _round_trip(plugin, data_spec, config, trained[0], place))
        for module in introspection.nets(trained[0]).values():
            module.eval()
        for name, method in introspection.samplers(plugin.cls).items() if samples else ():
            yield reported(
                f"sampler {name}", partial(_samples, plugin, trained[0], data_spec, name, method, place)
            )
        for name, method in introspection.scores(plugin.cls).items():
            yield reported(f"score {name}", partial(_scores, trained[0], data, name, method))


def _config_of(plugin: loader.Plugin, task_name: str, budget: str) -> Any:
    values = budgets.budget_values(plugin, budget, task_name) if budget else {}
    values.pop(budgets.MINUTES, None)
    return configs.build_config(plugin.cls.Config, values, "card.toml")


def _train(
    plugin: loader.Plugin,
    data: NoiseData,
    config: Any,
    place: Path,
    *,
    interrupt: bool = False,
    base: contract.Model | None = None,
) -> contract.Model:
    seeds.seed_everything(0)
    try:
        model: contract.Model = plugin.cls(data.spec, config)
        model.device = data.device
        if base is not None:
            model.base = base
        stop = StopRequest()
        if interrupt:
            stop.signal = signal.SIGTERM
        seeds.seed_everything(1)
        run = TrainingRun(
            model,
            place,
            seed=0,
            device=data.device,
            stop=stop,
            reporter=Reporter(),
            most_steps=STEPS,
        )
        model.train(data, run)
    except (EbbenchError, Stopped):
        raise
    except Exception as error:
        raise PluginCrash(
            f"{type(error).__name__}: {error}", where=crash.fault(error, plugin.folder), expected="no error"
        ) from error
    return model


def _resumes(
    plugin: loader.Plugin,
    data: NoiseData,
    config: Any,
    place: Path,
    whole: contract.Model,
    base: contract.Model | None,
) -> str:
    # A pending signal stops the training after each step, so every step is a resumption.
    for _ in range(STEPS + 2):
        try:
            again = _train(plugin, data, config, place / "parts", interrupt=True, base=base)
        except Stopped:
            continue
        break
    else:
        raise ContractError("the training does not go on from its checkpoint", where=plugin.folder.name)
    if not _same(whole.state_dict(), again.state_dict()):
        raise ContractError(
            "a training that was interrupted ends elsewhere than one that was not",
            where=f"{plugin.folder.name}/model.py, train()",
            expected="equal states to the bit",
            fix="put what changes in the loop (optimisers, averages, counters) on self, with a state_dict",
        )
    if not whole.keeps_state:
        return "keeps no state: interrupted after every step, it trains to its end"
    return "interrupted after every step, the state is the same"


def _round_trip(
    plugin: loader.Plugin, data_spec: contract.DataSpec, config: Any, model: contract.Model, place: Path
) -> str:
    if not model.keeps_state:
        return "keeps none"
    fresh: contract.Model = plugin.cls(data_spec, config)
    names = fresh.state_dict().keys()
    kept = {name: part for name, part in model.state_dict().items() if name in names}
    state.save(kept, place / "state.json")
    fresh.load_state_dict(state.load(place / "state.json"))
    if not _same(kept, {name: part for name, part in fresh.state_dict().items() if name in names}):
        raise ContractError("a stored state does not load into a fresh model", where=plugin.folder.name)
    return f"{sum(p.stat().st_size for p in place.glob('state*')) / 2**20:.1f} MiB"


def _samples(
    plugin: loader.Plugin,
    model: contract.Model,
    data_spec: contract.DataSpec,
    name: str,
    method: Callable[..., Tensor],
    place: Path,
) -> str:
    # A chain of a few steps says as much of shape, range and seed as one of a thousand.
    short = {"steps": STEPS} if "steps" in introspection.knobs(method) else {}
    drawn = []
    for attempt in range(2):
        scoring = Scoring(
            model,
            data_spec,
            place / f"{name}{attempt}",
            seed=0,
            device=torch.device("cpu"),
            sampler=name,
            draw=lambda n: method(model, n, **short),
            plugin_folder=plugin.folder,
            stop=StopRequest(),
            reporter=Reporter(),
        )
        # 7 in chunks of 4: a whole chunk and a part of one.
        drawn.append(scoring.samples(7, lambda x: {"x": x.numpy()}, chunk=4)["x"])
    if (drawn[0] != drawn[1]).any():
        raise ContractError(
            f"sampler '{name}' gives other samples for the same seed",
            where=plugin.folder.name,
            expected="randomness from the global states of torch, NumPy and Python alone",
        )
    return f"{drawn[0].shape}, in [{drawn[0].min():.3g}, {drawn[0].max():.3g}], repeatable"


def _scores(model: contract.Model, data: NoiseData, name: str, method: Callable[..., Tensor]) -> str:
    x = data[torch.arange(8)]
    try:
        values = method(model, x)
        one = method(model, x[:1])
    except Exception as error:
        raise PluginCrash(f"score '{name}' raised {type(error).__name__}: {error}") from error
    if not isinstance(values, Tensor) or tuple(values.shape) != (8,) or not values.isfinite().all():
        shown = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ContractError(f"score '{name}' gave {shown}", expected="(8,) finite values for 8 examples")
    if not torch.allclose(values[:1], one, rtol=1e-3, atol=1e-4):
        raise ContractError(
            f"score '{name}' of an example depends on the others in its batch",
            expected="each example scored by itself (no batch statistics in eval mode)",
        )
    return f"in [{values.min():.3g}, {values.max():.3g}]"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
