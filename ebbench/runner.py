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
import math
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from ebbench import contract, curves, loader, provenance, result, seeds, state
from ebbench.artefacts import Recorded
from ebbench.assembly import Part, assemble
from ebbench.data.store import Store
from ebbench.errors import (
    ContractError,
    EbbenchError,
    PluginCrash,
    Stopped,
    StorageError,
    UsageError,
)
from ebbench.files import home, write_atomically
from ebbench.progress import Reporter
from ebbench.scoring import Scoring
from ebbench.signals import StopRequest, stop_on_signals
from ebbench.spec import Spec, content_hash, evaluates
from ebbench.training import CHECKPOINT_SECONDS, CURVE_POINTS, Curves, Run

# Beside a training that `--force` began anew, until its result is written.
FORCED = "forced"


@dataclass(frozen=True)
class Outcome:
    """A result, where it is, and whether it was there before."""

    result: result.Result
    path: Path
    existed: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where and how to run; nothing here may move a score.

    With `trainings`, hashes, none but these is scored and nothing is trained; all else is an error.
    """

    device: torch.device
    results: Path
    store: Store
    force: bool = False
    trainings: frozenset[str] | None = None
    # Where to keep what the task is given, by name (artefacts.py).
    record: dict[str, np.ndarray] | None = None
    reporter: Reporter = dataclasses.field(default_factory=Reporter)
    checkpoint_seconds: float = CHECKPOINT_SECONDS


def choose_device(name: str) -> torch.device:
    """ "auto" is the first GPU where there is one, else the CPU. Raises UsageError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"device '{name}' cannot be used: {str(error).splitlines()[0]}",
            where="--device",
            expected="auto, cpu, cuda or cuda:N",
            fix="`ebbench doctor` shows what is there",
        ) from error
    return device


def run(spec: Spec, run_seeds: list[int], settings: Settings) -> Iterator[Outcome]:
    """Train, score and write each seed in turn; what is done already is only pointed at."""
    provenance.running_code()
    with _plugin_code(spec.task, None, "__init__"):
        task: contract.Task = spec.task.cls(spec.options, spec.protocol, settings.store)
    folder = settings.results / spec.task.name / spec.model.name
    _check_writable(folder)
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
    with _plugin_code(spec.task, None, "data_key"):
        path = folder / f"{spec.run_id(task, seed)}.json"
    if path.exists() and not settings.force:
        return Outcome(result.read(path), path, existed=True)
    with _plugin_code(spec.task, None, "parts"):
        tasks = dict(task.parts(seed))
    made: dict[str, Part] = {}
    # Every part stays locked until the result is there: who waited for one must find it.
    with ExitStack() as locks:
        for name, part in tasks.items():
            if name:
                settings.reporter.note(f"part {len(made) + 1} of {len(tasks)}: {name}")
            with _plugin_code(spec.task, None, "data_key"):
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
            locks.enter_context(_locked(place, settings.reporter))
            # Another process may have finished while this one waited.
            if path.exists() and not settings.force:
                return Outcome(result.read(path), path, existed=True)
            # A forced run that was stopped goes on: what it began is not forgotten again.
            if settings.force and not (place / FORCED).exists():
                _forget(place)
                write(place / FORCED, b"")
            # Left by a process that was killed while it wrote; nobody else writes here now.
            for half in [*place.rglob(".*.tmp"), *folder.glob(f".{path.stem}.*.tmp")]:
                half.unlink()
            write(place / "key.json", json.dumps(key, indent=2, sort_keys=True).encode())
            base = _base(spec, part, seed, settings, stop, len(tasks))
            model, training = _trained(spec, part, seed, place, settings, stop, len(tasks), base)
            training["hash"] = digest
            made[name] = _scored(spec, part, seed, place, model, training, settings, stop, name)
        with _plugin_code(spec.task, None, "combine"):
            score = task.combine({name: scored.score for name, scored in made.items()})
        _check_metrics(score.metrics, task, spec.task)
        with pinned():
            scored_on = _provenance(spec, task, seed, settings)
        whole, pictures = assemble(spec, task, seed, score, made, scored_on)
        for name, pixels in pictures.items():
            write(folder / name, curves.png(pixels))
        result.write(whole, path)
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
    with _plugin_code(spec.task, None, "data_key"):
        key = spec.base.training_key(task, seed)
    place = home() / "runs" / content_hash(key)
    with _locked(place, settings.reporter):
        write(place / "key.json", json.dumps(key, indent=2, sort_keys=True).encode())
        base = _base(spec.base, task, seed, settings, stop, parts)
        model, training = _trained(spec.base, task, seed, place, settings, stop, parts, base)
    for module in contract.nets(model).values():
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


def _trained(
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
    seeds.seed_everything(seeds.derive(seed, "model"))
    with _plugin_code(spec.task, place, "spec"):
        data_spec = task.spec()
    with _plugin_code(spec.model, place, "__init__"):
        model: contract.Model = spec.model.cls(data_spec, spec.config)
    model.device = settings.device
    if base is not None:
        model.base = base[0]
    for module in contract.nets(model).values():
        module.to(settings.device)
    kept = set(model.state_dict())
    stored = place / "state.json"
    if stored.exists():
        saved = state.load(stored, settings.device)
        with _plugin_code(spec.model, place, "load_state_dict"):
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
    with _plugin_code(spec.task, place, "data"):
        data = task.data(settings.device)

    def evaluate(step: int) -> Mapping[str, float]:
        """The task's numbers along training; nothing of the model changes by it."""
        nets = contract.nets(model).values()
        modes = {module: module.training for net in nets for module in net.modules()}
        for net in nets:
            net.eval()
        seeds.seed_everything(seeds.derive(seed, "evaluate", step))
        folder = place / "evaluations" / str(step)
        # Silent: the reporter is in the middle of the training.
        silent = dataclasses.replace(settings, reporter=Reporter())
        scoring = _scoring(spec, task, seed, model, folder, silent, stop)
        with pinned(), _plugin_code(spec.task, place, "evaluate"):
            values = task.evaluate(model, scoring)
        for module, mode in modes.items():
            module.training = mode
        return values

    seeds.seed_everything(seeds.derive(seed, "train"))
    run = Run(
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
    with _plugin_code(spec.model, place, "train"):
        model.train(data, run)
    run.finish()
    trained_on = _provenance(spec, task, seed, settings)
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


def _scored(
    spec: Spec,
    task: contract.Task,
    seed: int,
    place: Path,
    model: contract.Model,
    training: dict[str, Any],
    settings: Settings,
    stop: StopRequest,
    name: str,
) -> Part:
    """Score the model; its chunks stay where they are until the result is written."""
    scoring_hash = content_hash(spec.scoring_key(task, seed))
    for module in contract.nets(model).values():
        module.eval()
    # Neither the task's options nor its protocol move a draw.
    drawn = content_hash({"sampler": spec.sampler, "knobs": dict(spec.knobs)})[:16]
    folder = place / "scores" / scoring_hash
    make: Callable[..., Scoring] = Scoring
    if settings.record is not None:
        # A chunk that was kept before it was recorded is in no record: this scoring begins anew.
        folder = folder.with_name(f"{scoring_hash}-recorded")
        shutil.rmtree(folder, ignore_errors=True)
        make = partial(Recorded, part=name, arrays=settings.record)
    scoring = _scoring(spec, task, seed, model, folder, settings, stop, place / "samples" / drawn, make)
    scoring.evaluations = Curves(**training["evaluations"])
    began = time.perf_counter()
    with pinned(), _plugin_code(spec.task, place, "score"):
        score = task.score(model, scoring)
    return Part(
        score=score,
        training=training,
        scoring={
            "hash": scoring_hash,
            "seconds": round(time.perf_counter() - began, 3),
            "samples_per_second": (
                round(scoring.drawn / scoring.drawing_seconds, 1)
                if scoring.drawn and math.isfinite(scoring.drawing_seconds)
                else None
            ),
            "samples": scoring.asked or None,
            "diagnostics": scoring.diagnostics,
        },
        pictures=scoring.pictures,
        chunks=folder,
    )


def _scoring(
    spec: Spec,
    task: contract.Task,
    seed: int,
    model: contract.Model,
    folder: Path,
    settings: Settings,
    stop: StopRequest,
    samples: Path | None = None,
    make: Callable[..., Scoring] = Scoring,
) -> Scoring:
    draw = None
    if spec.sampler:
        draw = partial(contract.samplers(spec.model.cls)[spec.sampler], model, **spec.knobs)
    return make(
        model,
        task.spec(),
        folder,
        seed=seed,
        device=settings.device,
        sampler=spec.sampler,
        samples=samples,
        draw=draw,
        declared=spec.score,
        plugin_folder=spec.model.folder,
        stop=stop,
        reporter=settings.reporter,
    )


def _provenance(spec: Spec, task: contract.Task, seed: int, settings: Settings) -> result.Provenance:
    return provenance.collect(
        settings.device, dict(task.data_hashes), spec.model.code_hash, spec.command(seed)
    )


def _parameters(model: contract.Model) -> int:
    """The number of trainable parameters; those that two nets share count once."""
    parameters = (p for net in contract.nets(model).values() for p in net.parameters())
    unique = {id(p): p.numel() for p in parameters if p.requires_grad}
    return sum(unique.values())


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


@contextmanager
def _plugin_code(plugin: loader.Plugin, place: Path | None, method: str) -> Iterator[None]:
    """Turn whatever a plug-in's own code raises into a PluginCrash, its traceback in a log in `place`."""
    try:
        yield
    except (EbbenchError, Stopped):
        raise
    except Exception as error:
        fix = "mend the line named above"
        if place is not None:
            write(place / "error.log", traceback.format_exc().encode())
            fix += f"; the whole traceback is in {place / 'error.log'}"
        raise PluginCrash(
            f"{method}() of {plugin.kind} '{plugin.name}' raised {type(error).__name__}: {error}",
            where=loader.fault(error, plugin.folder),
            fix=fix,
        ) from error


@contextmanager
def _locked(place: Path, reporter: Reporter) -> Iterator[None]:
    """One process at a time in a training's folder; the lock falls with the process that holds it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(place / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            reporter.note("another process is at this very run: waiting for it to end (Ctrl-C to leave)")
            lock.acquire()
    except OSError as error:
        raise StorageError(
            f"the run store cannot be used: {error.strerror or error}",
            where=str(place),
            expected="a folder that can be written",
            fix="set EBBENCH_HOME to one",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _forget(place: Path) -> None:
    for path in [*place.glob("state*"), *place.glob("checkpoint*")]:
        path.unlink()
    for folder in ("scores", "samples", "evaluations"):
        shutil.rmtree(place / folder, ignore_errors=True)


def _check_writable(folder: Path) -> None:
    """Before hours of training: can the result be written at all?"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Without a name of its own, it is gone with the process, whenever that is killed.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable("the result", folder, error) from error


@contextmanager
def pinned() -> Iterator[None]:
    """Scoring in full float32, with fixed kernels that sum in one order: speed must not move a score."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = (matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.benchmark, cudnn.deterministic)
    matmul.fp32_precision = cudnn.conv.fp32_precision = "ieee"
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.benchmark, cudnn.deterministic = before


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all; StorageError where that cannot be done."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise _unwritable(f"'{path.name}'", path.parent, error) from error


def _unwritable(what: str, folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{what} cannot be written: {error.strerror or error}",
        where=str(folder),
        expected="a folder that can be written, with room in it",
        fix="choose another with --results, or EBBENCH_HOME for the run store; what was saved is kept",
    )
