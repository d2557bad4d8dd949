"""A spec -> a training (made, or taken from the store) -> a score -> a result.

The run store, under `ebbench.storage.files.home()`, has one folder per training:

    runs/<training hash>/lock              one process at a time (or lease.N: storage/leases.py)
    runs/<training hash>/key.json          what the hash stands for
    runs/<training hash>/checkpoint.json   while it trains (and its tensors beside it)
    runs/<training hash>/state.json        the trained state, once it is there
    runs/<training hash>/scores/<hash>/    chunks of a scoring that is not done yet
    runs/<training hash>/samples/<hash>-*.npz  8-bit images that a score was taken of, by sampler and knobs
    runs/<training hash>/given/<hash>.npz  what a task was given of a model that is no built-in (given.py)
    runs/<training hash>/evaluations/<step>/  the same of one along training
    runs/<training hash>/error.log         the traceback of a plug-in that raised
    attempts/<task>/<model>/<run>.json     who is at a run, how far, how it ended (attempts.py)
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench import contract
from ebbench.device import pinned
from ebbench.errors import ContractError, UsageError, unknown
from ebbench.pictures import png
from ebbench.plugins import introspection, loader
from ebbench.plugins.configs import plain
from ebbench.plugins.guard import plugin_code
from ebbench.record import provenance, resultfiles
from ebbench.running.assembly import Part, assemble
from ebbench.running.attempts import Attempting, attempt_file, training_file
from ebbench.running.context import Context
from ebbench.running.expected import Expected
from ebbench.running.identity import Identity, identify
from ebbench.running.loggers import Log, opened
from ebbench.running.scorer import score_part
from ebbench.running.settings import Outcome, Settings
from ebbench.running.signals import StopRequest, stop_on_signals
from ebbench.running.spec import Spec
from ebbench.running.trainer import train_part
from ebbench.running.words import BASE
from ebbench.storage import made as made_here
from ebbench.storage.runstore import FORCED, check_writable, forget, locked, write


def run(spec: Spec, run_seeds: list[int], settings: Settings) -> Iterator[Outcome]:
    """Train, score and write each seed in turn; finished runs are only reported.

    Raises UsageError if a result exists that today's code would not make again, Stopped if a signal or the
    time limit ended the work at a safe point, and the errors of faulty plug-ins.
    """
    provenance.running_code()
    task = _task(spec, settings)
    folder = settings.results / spec.task.name / spec.model.name
    check_writable(folder)
    # Denormal activations slow down convolutions on a CPU many times, and carry no information.
    torch.set_flush_denormal(True)
    try:
        with stop_on_signals(settings.time_limit) as stop:
            for seed in run_seeds:
                yield _run_seed(spec, task, seed, folder, settings, stop)
    finally:
        torch.set_flush_denormal(False)


def train(
    spec: Spec, run_seeds: Sequence[int], settings: Settings, until: str, parts: Sequence[str] = ()
) -> Iterator[str]:
    """Run the trainings of a run without scoring: the model's own ("training"), or its base's ("base").

    Yields a line for each training that is then in the run store. `parts` are the parts to train, by default
    all. Raises UsageError for a part or a base that does not exist, and what `run` raises.
    """
    if until == BASE and spec.base is None:
        raise UsageError(
            f"{spec.model.name} does not build on another model",
            where="--until base",
            expected="a model with a base",
            fix="--until training",
        )
    provenance.running_code()
    task = _task(spec, settings)
    with stop_on_signals(settings.time_limit) as stop:
        for seed in run_seeds:
            with plugin_code(spec.task, None, "parts"):
                known = dict(task.parts(seed))
            for name in parts or known:
                if name not in known:
                    where = f"task '{spec.task.name}', seed {seed}"
                    if not any(known):
                        raise UsageError(
                            f"there is no part '{name}': the task trains once, as a whole",
                            where=where,
                            fix="leave out --part",
                        )
                    raise unknown("part", name, known, where=where)
                context = Context(
                    spec=spec,
                    task=known[name],
                    seed=seed,
                    identity=identify(spec, known[name], seed),
                    settings=settings,
                    stop=stop,
                    name=name,
                    parts=len(known),
                )
                if until == BASE:
                    context = context.below()
                _train_alone(context)
                yield f"{context.training.model} {name or 'whole'} seed {seed}: {context.place.name}"


def _train_alone(context: Context) -> None:
    """Run the training of one part, with an attempt file of its own."""
    training, settings = context.identity.training, context.settings
    with ExitStack() as stack:
        attempting = stack.enter_context(Attempting(training_file(training), settings.reporter))
        context = dataclasses.replace(context, settings=dataclasses.replace(settings, reporter=attempting))
        stack.enter_context(locked(context.place, context.busy))
        attempting.at(training, context.name)
        log = stack.enter_context(opened(settings.logger, context.training))
        _name(context)
        _trained(context, log)


def load(spec: Spec, seed: int, settings: Settings, part: str = "") -> contract.Model:
    """The trained model of one part of a run, from the run store, with its networks in eval mode.

    Nothing is trained, except a model that keeps no state. Raises UsageError for a part that does not exist,
    and if the store does not have the training.
    """
    task = _task(spec, settings)
    with plugin_code(spec.task, None, "parts"):
        parts = dict(task.parts(seed))
    if part not in parts:
        raise unknown("part", part, parts, where=f"task '{spec.task.name}', seed {seed}")
    identity = identify(spec, parts[part], seed)
    context = Context(
        spec=spec,
        task=parts[part],
        seed=seed,
        identity=identity,
        settings=dataclasses.replace(
            settings, trainings=settings.trainings or frozenset({identity.training})
        ),
        stop=StopRequest(),
        name=part,
        parts=len(parts),
    )
    _check_asked_for(context)
    # A stored state is only read, so there is no need for the lock.
    alone = nullcontext() if spec.model.cls.keeps_state else locked(context.place, context.busy)
    with alone, opened(None, context.training) as log:
        model, _ = _trained(context, log)
    for module in introspection.nets(model).values():
        module.eval()
    return model


def run_id(spec: Spec, seed: int, settings: Settings) -> str:
    """The name of a run's result; nothing is trained or scored."""
    return identify(spec, _task(spec, settings), seed).run_id


def _task(spec: Spec, settings: Settings) -> contract.Task:
    with plugin_code(spec.task, None, "__init__"):
        task: contract.Task = spec.task.cls(spec.options, spec.protocol, settings.store)
    return task


def _run_seed(
    spec: Spec, task: contract.Task, seed: int, folder: Path, settings: Settings, stop: StopRequest
) -> Outcome:
    whole = identify(spec, task, seed)
    path = folder / f"{whole.run_id}.json"
    if done := _done(path, whole, spec, settings):
        return done
    with plugin_code(spec.task, None, "parts"):
        parts = dict(task.parts(seed))
    made: dict[str, Part] = {}
    attempting = Attempting(attempt_file(spec.task.name, spec.model.name, whole.run_id), settings.reporter)
    settings = dataclasses.replace(settings, reporter=attempting)
    # Every part stays locked until the result is written, so that a waiting process finds it.
    with ExitStack() as locks, attempting:
        if settings.apart is not None:
            locks.callback(settings.apart.end)
        for name, part in parts.items():
            if name:
                settings.reporter.note(f"part {len(made) + 1} of {len(parts)}: {name}")
            context = Context(
                spec=spec,
                task=part,
                seed=seed,
                identity=whole if part is task else identify(spec, part, seed),
                settings=settings,
                stop=stop,
                name=name,
                parts=len(parts),
            )
            _check_asked_for(context)
            locks.enter_context(locked(context.place, context.busy))
            # Another process may have finished the run while this one waited.
            if done := _done(path, whole, spec, settings):
                return done
            attempting.at(context.identity.training, f"{len(made) + 1} of {len(parts)}" if name else "")
            _clear(context, path)
            with opened(settings.logger, context.training) as log:
                model, training = _trained(context, log)
                made[name] = score_part(context, model, training)
                log.done(made[name].pictures, made[name].score.metrics)
        with plugin_code(spec.task, None, "combine"):
            score = task.combine({name: scored.score for name, scored in made.items()})
        _check_metrics(score.metrics, task, spec.task)
        with pinned():
            scored_on = context.provenance()
        result, pictures = assemble(spec, task, seed, whole, score, made, scored_on)
        for name, pixels in pictures.items():
            write(folder / name, png(pixels))
        resultfiles.write(result, path)
        made_here.mark(result.digest())
        for scored in made.values():
            (scored.chunks.parents[1] / FORCED).unlink(missing_ok=True)
            shutil.rmtree(scored.chunks, ignore_errors=True)
    return Outcome(result, path, existed=False)


def _done(path: Path, identity: Identity, spec: Spec, settings: Settings) -> Outcome | None:
    """The existing result; None if there is none, or if it must be made again."""
    result = None if settings.force else Expected.of(path, identity, spec)()
    return None if result is None else Outcome(result, path, existed=True)


def _check_asked_for(context: Context) -> None:
    """Raise UsageError if only certain trainings may be scored, and this is not one of them."""
    allowed, spec, seed = context.settings.trainings, context.spec, context.seed
    if allowed is not None and context.identity.training not in allowed:
        raise UsageError(
            f"the training of {spec.model.name}, seed {seed}, is no longer the one of the result",
            where=f"training {context.identity.training[:10]}",
            expected=" or ".join(sorted(known[:10] for known in allowed)),
            fix="the card's settings, the base, an option or the data have changed: score the result at "
            f"the commit that it names, or train again: `{spec.command(seed)}`",
        )


def _clear(context: Context, path: Path) -> None:
    """Prepare the folder of a training that this process has locked."""
    place = context.place
    # A forced run that was interrupted resumes: its own work is not discarded again.
    if context.settings.force and not (place / FORCED).exists():
        forget(place)
        write(place / FORCED, b"")
    # Left by a process that was killed while writing; no other process writes here now.
    for half in [*place.rglob(".*.tmp"), *path.parent.glob(f".{path.stem}.*.tmp")]:
        half.unlink()
    _name(context)


def _name(context: Context) -> None:
    key = json.dumps(context.identity.training_key, indent=2, sort_keys=True)
    write(context.place / "key.json", key.encode())


def _trained(context: Context, log: Log) -> tuple[contract.Model, dict[str, Any]]:
    """The trained model of a context and the record of its training, both including the base."""
    base = _base(context)
    apart = context.settings.apart
    train = apart.train if apart is not None and apart.takes(context.spec) else train_part
    model, training = train(context, base, log)
    return model, training | {"hash": context.identity.training}


def _base(context: Context) -> tuple[contract.Model, dict[str, Any]] | None:
    """The trained base of a model, ready to be called, and its entry in the result.

    If the store does not have it, it is trained.
    """
    if context.spec.base is None:
        return None
    below = context.below()
    context.reporter.note(f"{context.spec.model.name} builds on {below.spec.model.name}:")
    with (
        locked(below.place, below.busy),
        opened(context.settings.logger, below.training) as log,
    ):
        _name(below)
        model, training = _trained(below, log)
    for module in introspection.nets(model).values():
        module.eval()
    return model, {
        "name": below.spec.model.name,
        "variant": below.spec.variant,
        "code_hash": below.spec.model.code_hash,
        "config": plain(below.spec.config),
        "hash": below.identity.training,
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
