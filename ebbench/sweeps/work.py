"""The jobs of a plan -> the work that is left, in groups that share a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ebbench import contract
from ebbench.contract import Store
from ebbench.errors import EbbenchError
from ebbench.plugins.guard import plugin_code
from ebbench.record.schema import Result
from ebbench.running import engine
from ebbench.running.identity import Identity, identify
from ebbench.running.spec import Spec
from ebbench.running.words import run_command
from ebbench.storage.files import home
from ebbench.sweeps.plan import Job
from ebbench.sweeps.summary import Summary


@dataclass(frozen=True)
class Work:
    """One run that is to be made: the command, its log, and where its result will be.

    `finished` gives the result if the file is there, None if not; it raises EbbenchError where the file is
    no result of this run.
    """

    label: str
    argv: Sequence[str]
    log: Path
    path: Path
    finished: Callable[[], Result | None]


def find_work(
    jobs: Iterable[Job], results: Path, store: Store, options: Sequence[str], summary: Summary
) -> list[list[Work]]:
    """The jobs without a result; those of one training (its base's, if any) are in one list, in order.

    `options` are words for each command. A job with a result goes into the summary as done before; one
    whose task or data cannot be used, or whose result cannot be read, as failed.
    """
    groups: dict[str, list[Work]] = {}
    tasks = Tasks(store)
    for job in jobs:
        try:
            identity = identify(job.spec, tasks.of(job.spec), job.seed)
            path = result_path(job, identity, results)
            finished = partial(engine.finished, path, identity, job.spec)
            existed = finished() is not None
        except Exception as error:  # a task's mistake of any kind fails its own jobs, not the sweep
            summary.failed.append((job.label(), one_line(error)))
            continue
        if existed:
            summary.existed.append(job.label())
            continue
        log = home() / "logs" / path.relative_to(results).with_suffix(".log")
        argv = [*run_command(job.request, str(job.seed)), *options]
        made = Work(job.label(), argv, log, path, finished)
        groups.setdefault(_first(identity).training, []).append(made)
    return list(groups.values())


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


def _first(identity: Identity) -> Identity:
    """The training that a run begins with."""
    return identity if identity.base is None else _first(identity.base)


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    text = str(error) if isinstance(error, EbbenchError) else f"{type(error).__name__}: {error}"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
