"""The jobs of a plan -> the work that is left, and which of it has to wait for which."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ebbench import contract
from ebbench.contract import Store
from ebbench.errors import EbbenchError
from ebbench.plugins.guard import plugin_code
from ebbench.running.expected import Expected
from ebbench.running.identity import Identity, identify
from ebbench.running.spec import Spec
from ebbench.running.words import run_command
from ebbench.storage.files import home
from ebbench.sweeps.plan import Job
from ebbench.sweeps.summary import Summary


class Finished(Protocol):
    """What a piece of work left: a result, say."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """None for a training."""
        ...


@dataclass(frozen=True)
class Stored:
    """What a training leaves: a state in the store, and no metric."""

    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class States:
    """The files of the states that a training leaves; called, whether they are all there."""

    paths: tuple[Path, ...]

    def __call__(self) -> Stored | None:
        """None where one is not there."""
        return Stored() if all(path.exists() for path in self.paths) else None


@dataclass(frozen=True, eq=False)
class Work:
    """One run that is to be made, or a training that runs need: the command, its log, and what it leaves.

    `finished` gives the result if the file `path` is there, None if not; it raises EbbenchError where the
    file is no result of this run. The work begins when all that it `needs` is over.
    """

    label: str
    argv: Sequence[str]
    log: Path
    path: Path
    finished: Callable[[], Finished | None]
    needs: tuple[Work, ...] = ()
    training: bool = False


@dataclass(frozen=True)
class Run:
    """A job without a result: its identity, the command that makes it, its log, and what it leaves."""

    job: Job
    identity: Identity
    argv: Sequence[str]
    log: Path
    expected: Expected

    def work(self, needs: Iterable[Work] = ()) -> Work:
        """The work of this run."""
        expected = self.expected
        return Work(self.job.label(), self.argv, self.log, expected.path, expected, tuple(needs))


def runs_left(
    jobs: Iterable[Job], results: Path, tasks: Tasks, options: Sequence[str], summary: Summary
) -> list[Run]:
    """The jobs without a result, in order; `options` are words for each command.

    A job with a result goes into the summary as done before; one whose task or data cannot be used, or
    whose result cannot be read, as failed.
    """
    left: list[Run] = []
    for job in jobs:
        try:
            identity = identify(job.spec, tasks.of(job.spec), job.seed)
            path = result_path(job, identity, results)
            expected = Expected.of(path, identity, job.spec)
            existed = expected() is not None
        except Exception as error:  # a task's mistake of any kind fails its own jobs, not the sweep
            summary.failed.append((job.label(), one_line(error)))
            continue
        if existed:
            summary.existed.append(job.label())
            continue
        log = home() / "logs" / path.relative_to(results).with_suffix(".log")
        argv = [*run_command(job.request, str(job.seed)), *options]
        left.append(Run(job, identity, argv, log, expected))
    return left


def result_path(job: Job, identity: Identity, results: Path) -> Path:
    """Where the result of a job lies among `results`."""
    return results / job.spec.task.name / job.spec.model.name / f"{identity.run_id}.json"


class Tasks:
    """Builds each task once, for all models and seeds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, contract.Task | Exception] = {}

    def of(self, spec: Spec) -> contract.Task:
        """The task of a spec. Raises whatever kept it from being built, each time."""
        key = str((str(spec.task.folder), spec.protocol, dataclasses.astuple(spec.options)))
        if key not in self._made:
            try:
                with plugin_code(spec.task, None, "__init__"):
                    self._made[key] = spec.task.cls(spec.options, spec.protocol, self._store)
            except Exception as error:
                # Kept: reading damaged data once more for each seed would find the same.
                self._made[key] = error
        task = self._made[key]
        if isinstance(task, Exception):
            raise task
        return task


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    text = str(error) if isinstance(error, EbbenchError) else f"{type(error).__name__}: {error}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
