"""A spec -> a training (made, or taken from the store) -> a score -> a result.

The run store, under `ebbench.files.home()`, has one folder a training:

    runs/<training hash>/lock              one process at a time
    runs/<training hash>/key.json          what the hash stands for
    runs/<training hash>/checkpoint.json   while it trains (and its tensors beside it)
    runs/<training hash>/state.json        the trained state, once it is there
    runs/<training hash>/scores/<hash>/    chunks of a scoring that is not done yet
    runs/<training hash>/samples/<hash>-*.npz  8-bit images that a score was taken of, by sampler and knobs
    runs/<training hash>/evaluations/<step>/  the same of one along training
    runs/<training hash>/error.log         the traceback of a plug-in that raised
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench import contract
from ebbench.device import pinned
from ebbench.errors import (
    ContractError,
    UsageError,
)
from ebbench.pictures import png
from ebbench.plugins import introspection, loader
from ebbench.plugins.guard import plugin_code
from ebbench.record import provenance, resultfiles
from ebbench.running.assembly import Part, assemble
from ebbench.running.scorer import score_part
from ebbench.running.settings import Outcome, Settings
from ebbench.running.signals import StopRequest, stop_on_signals
from ebbench.running.spec import Spec
from ebbench.running.trainer import provenance_of, train_part
from ebbench.storage.files import home
from ebbench.storage.hashing import content_hash
from ebbench.storage.runstore import FORCED, check_writable, forget, locked, write


def run(spec: Spec, run_seeds: list[int], settings: Settings) -> Iterator[Outcome]:
    """Train, score and write each seed in turn; what is done already is only pointed at."""
    provenance.running_code()
    with plugin_code(spec.task, None, "__init__"):
        task: contract.Task = spec.task.cls(spec.options, spec.protocol, settings.store)
    folder = settings.results / spec.task.name / spec.model.name
    check_writable(folder)
    # Denormal activations make a convolution on a CPU many times slower, and carry no information.
    torch.set_flush_denormal(True)
    try:
        with stop_on_signals() as stop:
            for seed in run_seeds:
                yield _run_seed(spec, task, seed, folder, settings, stop)
    finally:
        torch.set_flush_denormal(False)


def _run_seed(
    spec: Spec, task: contract.Task, seed: int, folder: Path, settings: Settings, stop: StopRequest
) -> Outcome:
    with plugin_code(spec.task, None, "data_key"):
        path = folder / f"{spec.run_id(task, seed)}.json"
    if path.exists() and not settings.force:
        return Outcome(resultfiles.read(path), path, existed=True)
    with plugin_code(spec.task, None, "parts"):
        tasks = dict(task.parts(seed))
    made: dict[str, Part] = {}
    # Every part stays locked until the result is there: who waited for one must find it.
    with ExitStack() as locks:
        for name, part in tasks.items():
            if name:
                settings.reporter.note(f"part {len(made) + 1} of {len(tasks)}: {name}")
            with plugin_code(spec.task, None, "data_key"):
                key = spec.training_key(part, seed)
            digest = content_hash(key)
            if settings.trainings is not None and digest not in settings.trainings:
                raise UsageError(
                    f"today's {spec.model.name}, seed {seed}, is another training than the result's",
                    where=f"training {digest[:10]}",
                    expected=" or ".join(sorted(known[:10] for known in settings.trainings)),
                    fix="a setting of its card, its base, an option or the data is another: score it at the "
                    f"commit that it names, or train anew: `{spec.command(seed)}`",
                )
            place = home() / "runs" / digest
            locks.enter_context(locked(place, settings.reporter.note))
            # Another process may have finished while this one waited.
            if path.exists() and not settings.force:
                return Outcome(resultfiles.read(path), path, existed=True)
            # A forced run that was stopped goes on: what it began is not forgotten again.
            if settings.force and not (place / FORCED).exists():
                forget(place)
                write(place / FORCED, b"")
            # Left by a process that was killed while it wrote; nobody else writes here now.
            for half in [*place.rglob(".*.tmp"), *folder.glob(f".{path.stem}.*.tmp")]:
                half.unlink()
            write(place / "key.json", json.dumps(key, indent=2, sort_keys=True).encode())
            base = _base(spec, part, seed, settings, stop, len(tasks))
            model, training = train_part(spec, part, seed, place, settings, stop, len(tasks), base)
            training["hash"] = digest
            made[name] = score_part(spec, part, seed, place, model, training, settings, stop, name)
        with plugin_code(spec.task, None, "combine"):
            score = task.combine({name: scored.score for name, scored in made.items()})
        _check_metrics(score.metrics, task, spec.task)
        with pinned():
            scored_on = provenance_of(spec, task, seed, settings)
        whole, pictures = assemble(spec, task, seed, score, made, scored_on)
        for name, pixels in pictures.items():
            write(folder / name, png(pixels))
        resultfiles.write(whole, path)
        for scored in made.values():
            (scored.chunks.parents[1] / FORCED).unlink(missing_ok=True)
            shutil.rmtree(scored.chunks, ignore_errors=True)
    return Outcome(whole, path, existed=False)


def _base(
    spec: Spec, task: contract.Task, seed: int, settings: Settings, stop: StopRequest, parts: int
) -> tuple[contract.Model, dict[str, Any]] | None:
    """The trained model that this one builds on, ready to be called, and what the result says of it.

    Where the store has none, it is made.
    """
    if spec.base is None:
        return None
    settings.reporter.note(f"{spec.model.name} builds on {spec.base.model.name}:")
    with plugin_code(spec.task, None, "data_key"):
        key = spec.base.training_key(task, seed)
    place = home() / "runs" / content_hash(key)
    with locked(place, settings.reporter.note):
        write(place / "key.json", json.dumps(key, indent=2, sort_keys=True).encode())
        base = _base(spec.base, task, seed, settings, stop, parts)
        model, training = train_part(spec.base, task, seed, place, settings, stop, parts, base)
    for module in introspection.nets(model).values():
        module.eval()
    return model, {
        "name": spec.base.model.name,
        "variant": spec.base.variant,
        "code_hash": spec.base.model.code_hash,
        "config": dataclasses.asdict(spec.base.config),
        "hash": content_hash(key),
        "steps": training["steps"],
        "seconds": training["seconds"],
        "base": training.get("base"),
    }


def _check_metrics(metrics: Mapping[str, float], task: contract.Task, plugin: loader.Plugin) -> None:
    declared = {metric.name for metric in task.metrics}
    primary = {metric.name for metric in task.metrics if metric.primary}
    if not primary <= set(metrics) <= declared:
        raise ContractError(
            f"task '{plugin.name}' scored {sorted(metrics)}",
            where=f"{plugin.folder.name}/task.py",
            expected=f"of the metrics that it declares, {sorted(declared)}, at least {sorted(primary)}",
        )
    for name, value in metrics.items():
        if not np.isfinite(value):
            raise ContractError(
                f"metric '{name}' is {value}", where=f"task '{plugin.name}'", expected="a finite number"
            )
