"""Find the work that remains of the jobs of a plan, and define a piece of work and what it waits for."""

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
    """What a finished piece of work leaves, such as a result."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics by name; empty for a training."""
        ...


@dataclass(frozen=True)
class Stored:
    """What a training leaves: a state in the run store, and no metrics."""

    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class States:
    """The files of the states that a training leaves. A call checks whether all of them exist."""

    paths: tuple[Path, ...]

    def __call__(self) -> Stored | None:
        """Return `Stored`, or None if a file is missing."""
        return Stored() if all(path.exists() for path in self.paths) else None


@dataclass(frozen=True, eq=False)
class Work:
    """A piece of work: a run, or a training that runs need, with its command (`argv`) and its log.

    `finished` returns the result if the file `path` exists, and None otherwise. It raises EbbenchError if the
    file is not a result of this run. The work begins when all work that it `needs` is over.
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
    """A job that has no result yet: its identity, its command (`argv`), its log, and the expected result."""

    job: Job
    identity: Identity
    argv: Sequence[str]
    log: Path
    expected: Expected

    def work(self, needs: Iterable[Work] = ()) -> Work:
        """This run as a piece of work that waits for `needs`."""
        expected = self.expected
        return Work(self.job.label(), self.argv, self.log, expected.path, expected, tuple(needs))


def runs_left(
    jobs: Iterable[Job], results: Path, tasks: Tasks, options: Sequence[str], summary: Summary
) -> list[Run]:
    """Return the jobs that have no result, in order. `options` are arguments for each command.

    A job with a result goes into the summary as done before. A job goes in as failed if its task or data
    cannot be used, or if its result cannot be read.
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
    """The path of a job's result below `results`."""
    return results / job.spec.task.name / job.spec.model.name / f"{identity.run_id}.json"


class Tasks:
    """Builds each task once, for all models and seeds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, contract.Task | Exception] = {}

    def of(self, spec: Spec) -> contract.Task:
        """The task of a spec. If it cannot be built, every call raises the same error."""
        key = str((str(spec.task.folder), spec.protocol, dataclasses.astuple(spec.options)))
        if key not in self._made:
            try:
                with plugin_code(spec.task, None, "__init__"):
                    self._made[key] = spec.task.cls(spec.options, spec.protocol, self._store)
            except Exception as error:
                # Keep the error: reading damaged data again for each seed would give the same error.
                self._made[key] = error
        task = self._made[key]
        if isinstance(task, Exception):
            raise task
        return task


def one_line(error: Exception) -> str:
    """The message of an error in one line."""
    text = str(error) if isinstance(error, EbbenchError) else f"{type(error).__name__}: {error}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
