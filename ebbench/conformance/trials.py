"""Try a model on noise with a task's shape: build it, train it, resume its training, store its state."""

from __future__ import annotations

import copy
import dataclasses
import signal
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ebbench import contract
from ebbench.conformance import beside, drawing, randomness, reloading
from ebbench.conformance.noise import NoiseData
from ebbench.conformance.reports import Report, reported
from ebbench.conformance.watch import Watch
from ebbench.data.labelled import given
from ebbench.errors import ContractError, Stopped
from ebbench.plugins import budgets, configs, introspection, loader
from ebbench.plugins.guard import plugin_code
from ebbench.running import seeds
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun
from ebbench.storage import state

# Training steps: enough for the optimiser to have a state, few enough for a wide network.
STEPS = 4
# The number of examples: more than a large batch, since an epoch needs a full batch.
EXAMPLES = 2048


def budget_for(plugin: loader.Plugin, task_name: str) -> str | None:
    """The smallest budget that the card has for a task, or None. "" if the model's Config has no fields."""
    if not dataclasses.fields(plugin.cls.Config):
        return ""
    for budget in budgets.BUDGETS:
        tables = plugin.card.budgets.get(budget, {})
        if task_name in tables or "default" in tables:
            return budget
    return None


def base_of(plugin: loader.Plugin, config: Any) -> loader.Plugin | None:
    """The model that this one builds on, by `config`; None if it builds on none."""
    field = plugin.cls.builds_on
    return loader.load("model", getattr(config, field)) if field else None


def tried(
    plugin: loader.Plugin,
    task_name: str,
    data_spec: contract.DataSpec,
    budget: str,
    *,
    samples: bool,
    limit: float,
) -> Iterator[Report]:
    """Try a model on noise with the shape `data_spec`, for the task `task_name`, and yield the reports.

    Its samplers are tried if `samples` is true. A check that takes longer than `limit` seconds has failed. If
    the model cannot be built or trained, the other checks are left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(plugin, task_name, data_spec, budget, Path(folder))
        for name, check in (
            (f"builds on {task_name}", trial.builds),
            (f"trains on {task_name}", trial.trains),
        ):
            report = reported(plugin, name, check, limit)
            yield report
            if not report.passed:
                return
        yield reported(plugin, "resumes to the bit", trial.resumes, limit)
        yield reported(plugin, "state round trip", trial.round_trip, limit)
        for module in introspection.nets(trial.trained).values():
            module.eval()
        samplers = introspection.samplers(plugin.cls) if samples else {}
        answers = dict(introspection.answers(plugin.cls))
        if not data_spec.classes:
            answers.pop(contract.CLASSIFY, None)
        sound = True
        for name, method in samplers.items():
            draw = partial(drawing.samples, plugin, trial.trained, data_spec, name, method, trial.watch)
            yield (report := reported(plugin, f"sampler {name}", draw, limit))
            sound = sound and report.passed
        for name, method in answers.items():
            ask = partial(drawing.scores, plugin, trial.trained, trial.data, name, method, trial.watch)
            yield (report := reported(plugin, f"score {name}", ask, limit))
            sound = sound and report.passed
        # Methods that fail a check may leave settings of the process changed, and here nobody watches.
        if sound and trial.stored is not None:
            again = partial(
                reloading.check, plugin, trial.trained, trial.stored, trial.data, samplers, answers
            )
            yield reported(plugin, "scores as stored", again, limit)
        yield reported(plugin, "leaves its folder alone", trial.leaves_its_folder_alone, limit)
        if trial.watch.printed:
            yield Report("prints", True, trial.watch.said(), remark=True)


class Trial:
    """One model on noise with the shape of one task. `place` is a scratch folder.

    `trains` sets `trained`. `round_trip` sets `stored`, the fresh model that has loaded its state.
    """

    trained: contract.Model
    stored: contract.Model | None = None

    def __init__(
        self,
        plugin: loader.Plugin,
        task_name: str,
        data_spec: contract.DataSpec,
        budget: str,
        place: Path,
    ) -> None:
        self.watch = Watch(plugin)
        self.data = NoiseData(data_spec, EXAMPLES)
        self._plugin, self._task_name, self._place = plugin, task_name, place
        self._budget = budget
        self._steps = 0
        self._before = beside.listing(plugin.folder)
        self._base: contract.Model | None = None

    def builds(self) -> str:
        """Check `__init__` with two seeds."""
        after = []
        for seed in (0, 1):
            seeds.seed_everything(seed)
            with self.watch.over("__init__") as seen:
                model = self._plugin.cls(self.data.spec, self._config)
            after.append(randomness.states())
        where = seen.last.get("seed", f"{self._plugin.folder.name}/model.py, __init__()")
        randomness.check_left_alone("__init__()", after, where)
        parameters = sum(p.numel() for net in introspection.nets(model).values() for p in net.parameters())
        return f"{parameters:,} parameters"

    def trains(self) -> str:
        """Check `train` with two seeds. It must not change the data or the model that it builds on."""
        if base := base_of(self._plugin, self._config):
            values = _config_of(base, self._task_name, budget_for(base, self._task_name) or "")
            self._base = _train(base, self.data, values, self._place / "base")
            for module in introspection.nets(self._base).values():
                module.eval()
        examples = self.data.values.clone()
        of_base = copy.deepcopy(self._base.state_dict()) if self._base is not None else {}
        after, seconds, steps = [], 0.0, 0
        for seed in (1, 2):
            model = self._built()
            began = time.perf_counter()
            with self.watch.over("train", {"data": lambda: self.data.values._version}) as seen:
                steps = _run(self._plugin, model, self.data, self._place / f"seed {seed}", seed)
            after.append(randomness.states())
            seconds = time.perf_counter() - began
            if seed == 1:
                self.trained = model
        self._steps = steps
        train = f"{self._plugin.folder.name}/model.py, train()"
        if not torch.equal(examples, self.data.values):
            raise ContractError(
                "train() changes the training data in place",
                where=seen.last.get("data", train),
                expected="unchanged data: every seed and every method uses them",
                fix="work on a copy: x = data[index].clone()",
            )
        if self._base is not None and not same(of_base, self._base.state_dict()):
            raise ContractError(
                "train() changes the model that it builds on",
                where=train,
                expected="an unchanged self.base",
                fix="train a copy: copy.deepcopy(self.base...)",
            )
        randomness.check_left_alone("train()", after, seen.last.get("seed", train))
        return f"{steps} steps in {seconds:.1f} s"

    def resumes(self) -> str:
        """Check that a training interrupted after every step ends with the same state as one that is not."""
        # A pending signal stops the training after each step. So each step is resumed from a checkpoint.
        for _ in range(STEPS + 2):
            again = self._built()
            stop = StopRequest()
            stop.signal = signal.SIGTERM
            try:
                with plugin_code(self._plugin, None, "train"):
                    _run(self._plugin, again, self.data, self._place / "parts", 1, stop)
            except Stopped:
                continue
            break
        else:
            raise ContractError(
                "the training does not resume from its checkpoint", where=self._plugin.folder.name
            )
        if not same(self.trained.state_dict(), again.state_dict()):
            raise ContractError(
                "an interrupted training ends with another state than an uninterrupted one",
                where=f"{self._plugin.folder.name}/model.py, train()",
                expected="states that are equal to the bit",
                fix="keep on self, with a state_dict, what the loop changes: optimisers, averages, counters",
            )
        if not self._steps:
            return "it has no loop of run.batches, so it cannot be interrupted"
        if not self.trained.keeps_state:
            return "keeps no state: interrupted after every step, it trains to its end"
        return "interrupted after every step, the state is the same"

    def round_trip(self) -> str:
        """Check that a stored state loads into a fresh model."""
        if not self.trained.keeps_state:
            return "keeps none"
        fresh = self._built()
        names = fresh.state_dict().keys()
        kept = {name: part for name, part in self.trained.state_dict().items() if name in names}
        path = self._place / "state.json"
        state.save(kept, path)
        fresh.load_state_dict(state.load(path))
        if not same(kept, {name: part for name, part in fresh.state_dict().items() if name in names}):
            raise ContractError(
                "a stored state does not load into a fresh model",
                where=f"{self._plugin.folder.name}/model.py",
                expected="a load_state_dict() that restores what state_dict() returned",
            )
        for module in introspection.nets(fresh).values():
            module.eval()
        self.stored = fresh
        return f"{sum(p.stat().st_size for p in self._place.glob('state*')) / 2**20:.1f} MiB"

    def leaves_its_folder_alone(self) -> str:
        """Check that nothing was written beside the code."""
        return beside.check_untouched(self._plugin.folder, self._before, self.watch.wrote_at)

    @property
    def _config(self) -> Any:
        return _config_of(self._plugin, self._task_name, self._budget)

    def _built(self) -> contract.Model:
        return _built(self._plugin, self.data, self._config, self._base)


def _config_of(plugin: loader.Plugin, task_name: str, budget: str) -> Any:
    values = budgets.budget_values(plugin, budget, task_name) if budget else {}
    return configs.build_config(plugin.cls.Config, values, "card.toml")


def _train(plugin: loader.Plugin, data: NoiseData, config: Any, place: Path) -> contract.Model:
    model = _built(plugin, data, config, None)
    with plugin_code(plugin, None, "train"):
        _run(plugin, model, data, place, 1)
    return model


def _built(
    plugin: loader.Plugin, data: NoiseData, config: Any, base: contract.Model | None
) -> contract.Model:
    seeds.seed_everything(0)
    with plugin_code(plugin, None, "__init__"):
        model: contract.Model = plugin.cls(data.spec, config)
    model.device = data.device
    if base is not None:
        model.base = base
    return model


def _run(
    plugin: loader.Plugin,
    model: contract.Model,
    data: NoiseData,
    place: Path,
    seed: int,
    stop: StopRequest | None = None,
) -> int:
    """Train for a few steps, and return their number."""
    seeds.seed_everything(seed)
    run = TrainingRun(
        model,
        place,
        seed=0,
        device=data.device,
        stop=stop or StopRequest(),
        reporter=Reporter(),
        most_steps=STEPS,
    )
    model.train(data if loader.is_own_control(plugin) else given(data), run)
    return run.steps


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the bit."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
