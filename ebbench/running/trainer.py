"""A spec -> the trained model, made or taken from the store."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ebbench import contract
from ebbench.device import pinned
from ebbench.errors import (
    UsageError,
)
from ebbench.plugins import introspection
from ebbench.plugins.guard import plugin_code
from ebbench.record import provenance, schema
from ebbench.running import seeds
from ebbench.running.curves import Curves
from ebbench.running.progress import Reporter
from ebbench.running.scorer import open_scoring
from ebbench.running.settings import Settings
from ebbench.running.signals import StopRequest
from ebbench.running.spec import Spec, evaluates
from ebbench.running.training import CURVE_POINTS, TrainingRun
from ebbench.storage import state
from ebbench.storage.files import home
from ebbench.storage.hashing import derive_seed


def train_part(
    spec: Spec,
    task: contract.Task,
    seed: int,
    place: Path,
    settings: Settings,
    stop: StopRequest,
    parts: int,
    base: tuple[contract.Model, dict[str, Any]] | None,
) -> tuple[contract.Model, dict[str, Any]]:
    """The model in its trained state, and the record of its training, one of `parts` of a result."""
    seeds.seed_everything(derive_seed(seed, "model"))
    with plugin_code(spec.task, place, "spec"):
        data_spec = task.spec()
    with plugin_code(spec.model, place, "__init__"):
        model: contract.Model = spec.model.cls(data_spec, spec.config)
    model.device = settings.device
    if base is not None:
        model.base = base[0]
    for module in introspection.nets(model).values():
        module.to(settings.device)
    kept = set(model.state_dict())
    stored = place / "state.json"
    if stored.exists():
        saved = state.load(stored, settings.device)
        with plugin_code(spec.model, place, "load_state_dict"):
            model.load_state_dict(saved["model"])
        settings.reporter.note(f"seed {seed}: trained before, taken from the store")
        # A training of an earlier version knows no evaluations.
        record: dict[str, Any] = {"evaluations": dataclasses.asdict(Curves())} | saved["training"]
        return model, record | ({"base": base[1]} if base else {})

    if settings.trainings is not None and model.keeps_state:
        raise UsageError(
            f"there is no trained state of {spec.model.name}, seed {seed}, in the run store",
            where=str(home() / "runs"),
            expected="the training that the result came from, by the same code and settings",
            fix=f"`{spec.command(seed)}` makes it",
        )
    settings.reporter.note(f"seed {seed}: training {spec.model.name} at budget {spec.budget}")
    with plugin_code(spec.task, place, "data"):
        data = task.data(settings.device)

    def evaluate(step: int) -> Mapping[str, float]:
        """The task's numbers along training; nothing of the model changes by it."""
        nets = introspection.nets(model).values()
        modes = {module: module.training for net in nets for module in net.modules()}
        for net in nets:
            net.eval()
        seeds.seed_everything(derive_seed(seed, "evaluate", step))
        folder = place / "evaluations" / str(step)
        # Silent: the reporter is in the middle of the training.
        silent = dataclasses.replace(settings, reporter=Reporter())
        scoring = open_scoring(spec, task, seed, model, folder, silent, stop)
        with pinned(), plugin_code(spec.task, place, "evaluate"):
            values = task.evaluate(model, scoring)
        for module, mode in modes.items():
            module.training = mode
        return values

    seeds.seed_everything(derive_seed(seed, "train"))
    run = TrainingRun(
        model,
        place,
        seed=seed,
        device=settings.device,
        stop=stop,
        reporter=settings.reporter,
        minutes=spec.minutes,
        checkpoint_seconds=settings.checkpoint_seconds,
        curve_points=max(20, CURVE_POINTS // parts),
        evaluate=evaluate if evaluates(task) else None,
    )
    with plugin_code(spec.model, place, "train"):
        model.train(data, run)
    run.finish()
    trained_on = provenance_of(spec, task, seed, settings)
    if trained_on.gpu is not None:
        gpu = trained_on.gpu.model_copy(update={"shared": run.shared})
        trained_on = trained_on.model_copy(update={"gpu": gpu})
    record = {
        "steps": run.steps,
        "seconds": round(run.seconds, 3),
        "steps_per_second": round(run.steps / run.seconds, 4) if run.steps and not run.shared else None,
        "stopped_by": run.stopped_by,
        "parameters": _parameters(model),
        "base": base[1] if base else None,
        "curves": dataclasses.asdict(run.curves),
        "evaluations": dataclasses.asdict(run.evaluations),
        "provenance": trained_on.model_dump(mode="json"),
    }
    # What training alone needs (optimisers) is not there on a fresh model: it is neither kept nor handed on.
    for name in set(model.state_dict()) - kept:
        vars(model).pop(name, None)
    if model.keeps_state:
        final = {name: part for name, part in model.state_dict().items() if name in kept}
        state.save({"model": final, "training": record}, stored)
    for leftover in place.glob("checkpoint*"):
        leftover.unlink()
    shutil.rmtree(place / "evaluations", ignore_errors=True)
    return model, record


def provenance_of(spec: Spec, task: contract.Task, seed: int, settings: Settings) -> schema.Provenance:
    return provenance.collect(
        settings.device, dict(task.data_hashes), spec.model.code_hash, spec.command(seed)
    )


def _parameters(model: contract.Model) -> int:
    """The number of trainable parameters; those that two nets share count once."""
    parameters = (p for net in introspection.nets(model).values() for p in net.parameters())
    unique = {id(p): p.numel() for p in parameters if p.requires_grad}
    return sum(unique.values())
