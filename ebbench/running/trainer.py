"""The trained model of one part of a run: trained now, or loaded from the store."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import shutil
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from ebbench import contract
from ebbench.data.labelled import given, labels_of
from ebbench.device import pinned
from ebbench.errors import UsageError
from ebbench.plugins import introspection, loader
from ebbench.plugins.guard import plugin_code
from ebbench.running import seeds
from ebbench.running.context import Context
from ebbench.running.curves import Curves
from ebbench.running.identity import evaluates
from ebbench.running.loggers import Log
from ebbench.running.progress import Reporter
from ebbench.running.scorer import open_scoring
from ebbench.running.training import CURVE_POINTS, TrainingRun
from ebbench.storage import state
from ebbench.storage.files import home
from ebbench.storage.hashing import derive_seed

# Number of training examples in the stored fingerprint.
FINGERPRINTED = 1024

Base = tuple[contract.Model, dict[str, Any]]


def train_part(context: Context, base: Base | None, log: Log) -> tuple[contract.Model, dict[str, Any]]:
    """The trained model and the record of its training; `base` is the trained model that it builds on.

    `log` receives the events of a new training. A model that keeps its state is always a fresh one with the
    stored state: its first scoring must see what each later scoring will see.
    """
    spec, settings, place = context.spec, context.settings, context.place
    if (saved := stored(context)) is not None:
        return _restored(context, base, saved["model"]), with_base(saved["training"], base)
    model = _built(context, base)
    # A fresh model lacks what only training needs (optimisers), so that is not stored.
    kept = set(_state(context, model))
    data, seen = data_of(context, model.keeps_state)
    seeds.seed_everything(derive_seed(context.seed, "train"))
    run = TrainingRun(
        model,
        place,
        seed=context.seed,
        device=settings.device,
        stop=context.stop,
        reporter=settings.reporter,
        checkpoint_seconds=settings.checkpoint_seconds,
        curve_points=curve_points(context),
        evaluate=_evaluator(context, model) if evaluates(context.task) else None,
        most_evaluations=context.task.most_evaluations,
        logger=log,
    )
    with plugin_code(spec.model, place, "train"):
        model.train(data if loader.is_own_control(spec.model) else given(data), run)
    run.finish()
    record = record_of(context, run, parameters_of(model), base)
    if not model.keeps_state:
        clear(context)
        return model, record
    final = {name: part for name, part in _state(context, model).items() if name in kept}
    keep(context, final, record, seen)
    clear(context)
    saved = state.load(place / "state.json", settings.device)
    return _restored(context, base, saved["model"]), record


def data_of(context: Context, keeps_state: bool) -> tuple[contract.Data, str]:
    """The data of a new training, and their fingerprint.

    Raises UsageError if only stored trainings may be scored, and the model keeps its state.
    """
    spec, settings = context.spec, context.settings
    if settings.trainings is not None and keeps_state:
        raise UsageError(
            f"there is no trained state of {spec.model.name}, seed {context.seed}, in the run store",
            where=str(home() / "runs"),
            expected="the training, by the same code and settings",
            fix=f"`{spec.command(context.seed)}` makes it",
        )
    context.reporter.note(f"seed {context.seed}: training {spec.model.name} at budget {spec.budget}")
    with plugin_code(spec.task, context.place, "data"):
        data = context.task.data(settings.device)
        return data, _fingerprint(data)


def curve_points(context: Context) -> int:
    """The maximum number of points of this training's curves."""
    return max(20, CURVE_POINTS // context.parts)


def keep(context: Context, final: Mapping[str, Any], record: Mapping[str, Any], fingerprint: str) -> None:
    """Store a trained state with the record of its training. Raises StorageError."""
    # The task's code hash is kept for `stored`, because newer code may give different data.
    seen = {"task_code": context.spec.task.code_hash, "fingerprint": fingerprint}
    state.save({"model": final, "training": record, "data": seen}, context.place / "state.json")


def clear(context: Context) -> None:
    """Remove the files that only a training in progress needs."""
    for leftover in context.place.glob("checkpoint*"):
        leftover.unlink()
    shutil.rmtree(context.place / "evaluations", ignore_errors=True)


def _built(context: Context, base: Base | None) -> contract.Model:
    """The untrained model, on its device."""
    spec, place = context.spec, context.place
    seeds.seed_everything(derive_seed(context.seed, "model"))
    with plugin_code(spec.task, place, "spec"):
        data_spec = context.task.spec()
    with plugin_code(spec.model, place, "__init__"):
        # A copy: a model that changes its Config must not change that of the next seed.
        model: contract.Model = spec.model.cls(data_spec, copy.deepcopy(spec.config))
    model.device = context.settings.device
    if base is not None:
        model.base = base[0]
    for module in introspection.nets(model).values():
        module.to(context.settings.device)
    return model


def _restored(context: Context, base: Base | None, saved: Mapping[str, Any]) -> contract.Model:
    """A fresh model with a stored state."""
    model = _built(context, base)
    with plugin_code(context.spec.model, context.place, "load_state_dict"):
        model.load_state_dict(saved)
    return model


def _state(context: Context, model: contract.Model) -> dict[str, Any]:
    with plugin_code(context.spec.model, context.place, "state_dict"):
        return dict(model.state_dict())


def stored(context: Context) -> dict[str, Any] | None:
    """The stored "model" (its state) and "training" (its record); None if there is none.

    Raises UsageError if the task's code has changed and now gives different training data.
    """
    spec, place = context.spec, context.place
    if not (place / "state.json").exists():
        return None
    saved = state.load(place / "state.json", context.settings.device)
    seen = saved["data"]
    if seen["task_code"] != spec.task.code_hash:
        with plugin_code(spec.task, place, "data"):
            today = _fingerprint(context.task.data(context.settings.device))
        if today != seen["fingerprint"]:
            raise UsageError(
                f"task '{spec.task.name}' gives other training data than it gave when {spec.model.name} "
                f"(seed {context.seed}) was trained, under the same data key",
                where=f"{spec.task.folder.name}/task.py: data() and data_key()",
                expected="a data key that changes whenever the training data do",
                fix="put what has changed into data_key(), or give the command again with --force",
            )
    context.reporter.note(f"seed {context.seed}: trained before, taken from the store")
    return saved


def with_base(record: Mapping[str, Any], base: Base | None) -> dict[str, Any]:
    """The record of a stored training, including that of its base."""
    return dict(record) | ({"base": base[1]} if base else {})


def _fingerprint(data: contract.Data) -> str:
    """SHA-256 of the number of examples, of evenly spaced examples, and of all labels."""
    n = len(data)
    index = torch.arange(min(n, FINGERPRINTED), device=data.device) * n // max(1, min(n, FINGERPRINTED))
    found = hashlib.sha256(f"{n} {data.spec}".encode())
    if n:
        found.update(data[index].detach().cpu().contiguous().numpy().tobytes())
    if (labels := labels_of(data)) is not None:
        found.update(labels.cpu().numpy().tobytes())
    return found.hexdigest()


def _evaluator(context: Context, model: contract.Model) -> Any:
    """The function that runs the task's evaluation during training; it does not change the model."""

    def evaluate(step: int) -> Mapping[str, float]:
        nets = introspection.nets(model).values()
        modes = {module: module.training for net in nets for module in net.modules()}
        for net in nets:
            net.eval()
        values = evaluation(context, model, step)
        for module, mode in modes.items():
            module.training = mode
        return values

    return evaluate


def evaluation(context: Context, model: contract.Model, step: int) -> Mapping[str, float]:
    """The values of the task's `evaluate` after `step` steps, with the model's networks in eval mode."""
    # Silent, because the reporter is showing the training.
    silent = dataclasses.replace(context, settings=dataclasses.replace(context.settings, reporter=Reporter()))
    seeds.seed_everything(derive_seed(context.seed, "evaluate", step))
    scoring = open_scoring(silent, model, context.place / "evaluations" / str(step))
    with pinned(), plugin_code(context.spec.task, context.place, "evaluate"):
        return context.task.evaluate(model, scoring)


class Numbers(Protocol):
    """The numbers of a finished training."""

    @property
    def steps(self) -> int:
        """Training steps over all loops."""
        ...

    @property
    def stopped_by(self) -> str:
        """ "steps", or "none" without a loop."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes used the GPU at the same time."""
        ...

    @property
    def as_graph(self) -> bool:
        """Whether its steps ran as CUDA graphs."""
        ...

    @property
    def seconds(self) -> float:
        """Wall-clock seconds."""
        ...

    @property
    def curves(self) -> Curves:
        """The logged curves."""
        ...

    @property
    def evaluations(self) -> Curves:
        """The values of the task's `evaluate`."""
        ...


def record_of(context: Context, run: Numbers, parameters: int, base: Base | None) -> dict[str, Any]:
    """The training record of a result, for a model with this number of trainable parameters."""
    trained_on = context.provenance()
    if trained_on.gpu is not None:
        gpu = trained_on.gpu.model_copy(update={"shared": run.shared})
        trained_on = trained_on.model_copy(update={"gpu": gpu})
    return {
        "steps": run.steps,
        "seconds": round(run.seconds, 3),
        "steps_per_second": round(run.steps / run.seconds, 4) if run.steps and not run.shared else None,
        "stopped_by": run.stopped_by,
        "as_graph": run.as_graph,
        "parameters": parameters,
        "base": base[1] if base else None,
        "curves": dataclasses.asdict(run.curves),
        "evaluations": dataclasses.asdict(run.evaluations),
        "provenance": trained_on.model_dump(mode="json"),
    }


def parameters_of(model: contract.Model) -> int:
    """The number of trainable parameters; parameters shared by two networks count once."""
    parameters = (p for net in introspection.nets(model).values() for p in net.parameters())
    unique = {id(p): p.numel() for p in parameters if p.requires_grad}
    return sum(unique.values())
