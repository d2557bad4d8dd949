"""Find out how far a plan is. This reads only the results and the run store, and changes nothing."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ebbench.data.store import Store
from ebbench.plugins.guard import plugin_code
from ebbench.record.resultfiles import results_to_read
from ebbench.running import attempts
from ebbench.running.expected import Expected
from ebbench.running.identity import identify
from ebbench.running.signals import TIME_IS_UP
from ebbench.storage.files import home
from ebbench.storage.runstore import Watcher
from ebbench.sweeps.plan import Job, read_plan
from ebbench.sweeps.work import Tasks, one_line, result_path

State = Literal["done", "running", "waiting", "failed"]
STATES: tuple[State, ...] = ("done", "running", "waiting", "failed")
# Bytes at the end of a log that may hold the error.
_LOG_END = 16_384


@dataclass(frozen=True)
class RunState:
    """One run of a plan, and its state.

    A run that is *running* has the process `pid` on `host` (0 and "" if the store does not say). `stage` is
    its present stage ("training", "sampling"). `step` of `steps` steps of the stage are done, and the stage
    needs about `seconds_left`. A run that is *waiting* may have begun earlier: then `stage`, `step` and
    `steps` say how far it got. `said` is the first line of the error of a run that *failed*, or further words
    about another run, such as why it stopped.
    """

    run: str
    state: State
    host: str = ""
    pid: int = 0
    stage: str = ""
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    said: str = ""


def status(
    plan: str | os.PathLike[str],
    *,
    results: str | os.PathLike[str] = "results",
    data_dir: str | os.PathLike[str] | None = None,
) -> list[RunState]:
    """Return the state of each run of a `plan`, in the plan's order: done, running, waiting or failed.

    This reads the results in the folder `results` and the run store of this machine, and changes nothing.
    `data_dir` is the folder of the data sets. Raises UsageError or PluginError if the plan cannot be read,
    and UsageError if `results` is a file.
    """
    folder = results_to_read(results)
    return Survey(read_plan(Path(plan)), folder, None if data_dir is None else Path(data_dir)).look()


def counts(states: Iterable[RunState]) -> dict[str, int]:
    """The number of runs in each of the STATES."""
    found = Counter(one.state for one in states)
    return {state: found[state] for state in STATES}


def exit_code(states: Iterable[RunState]) -> int:
    """The exit code, as of a sweep: 0 if all runs are done, 1 if a run failed, 124 if some are left."""
    found = counts(states)
    if found["failed"]:
        return 1
    return TIME_IS_UP if found["running"] or found["waiting"] else 0


@dataclass(frozen=True)
class _Training:
    """A training that a run needs: its hash, and the name of its model if that is a base, else ""."""

    hash: str
    base: str = ""


@dataclass
class _Run:
    """A job and the paths of its files.

    `trainings` is None until it is first needed. `final` is the state once it cannot change any more.
    """

    job: Job
    final: RunState | None = None
    result: Path = field(default_factory=Path)
    attempt: Path = field(default_factory=Path)
    log: Path = field(default_factory=Path)
    trainings: list[_Training] | None = None


class _Listing:
    """Says which files exist. Each folder is read once, however many runs it holds."""

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}

    def has(self, path: Path) -> bool:
        if path.parent not in self._names:
            try:
                self._names[path.parent] = set(os.listdir(path.parent))
            except OSError:
                self._names[path.parent] = set()
        return path.name in self._names[path.parent]


class Survey:
    """Looks at the runs of a plan repeatedly. A run with a final state is not read again."""

    def __init__(self, jobs: Iterable[Job], results: Path, data_dir: Path | None) -> None:
        tasks = Tasks(Store(data_dir))
        self._watcher = Watcher()
        self._runs = [_found(job, results, tasks) for job in jobs]
        self._tasks = tasks

    def look(self) -> list[RunState]:
        """The state of each run, in the plan's order."""
        listing = _Listing()
        return [self._state(run, listing) for run in self._runs]

    def _state(self, run: _Run, listing: _Listing) -> RunState:
        if run.final is None and listing.has(run.result):
            run.final = self._judged(run.job, run.result)
        return run.final or self._unfinished(run, listing)

    def _judged(self, job: Job, path: Path) -> RunState | None:
        """The state of a run whose result file exists."""
        try:
            identity = identify(job.spec, self._tasks.of(job.spec), job.seed)
            done = Expected.of(path, identity, job.spec)() is not None
        except Exception as error:  # an invalid result or a mistake of the task concerns only this run
            return RunState(job.label(), "failed", said=attempts.first_line(error))
        return RunState(job.label(), "done") if done else None

    def _unfinished(self, run: _Run, listing: _Listing) -> RunState:
        label = run.job.label()
        attempt = attempts.read(run.attempt) if listing.has(run.attempt) else None
        words: list[str] = []
        if attempt is None:
            attempt, words = self._training(run)
        if attempt is None:
            said = _last_error(run.log) if listing.has(run.log) else ""
            return RunState(label, "failed" if said else "waiting", said=said or ", ".join(words))
        begun = RunState(label, "waiting", stage=attempt.stage, step=attempt.done, steps=attempt.total)
        holder = self._watcher.holder(home() / "runs" / attempt.training)
        # If several runs share a training, another run may hold the lock.
        theirs = holder is not None and holder.pid in (0, attempt.pid) and not attempt.ended
        if holder is not None and theirs and attempt.state == "running":
            words += [f"part {attempt.part}"] if attempt.part else []
            if holder.silent is not None:
                words.append(f"no heartbeat for {duration(holder.silent)}")
            return dataclasses.replace(
                begun,
                state="running",
                host=attempt.host,
                pid=attempt.pid,
                seconds_left=attempt.seconds_left,
                said=", ".join(words),
            )
        if attempt.state == "failed":
            return RunState(label, "failed", said=": ".join([*words, attempt.said]))
        # An error before the run itself began (such as a missing device) is only in the log.
        if _newer(run.log, run.attempt) and (said := _last_error(run.log)):
            return RunState(label, "failed", said=said)
        cut = f"cut off on {attempt.host}, process {attempt.pid}"
        return dataclasses.replace(begun, said=": ".join([*words, attempt.said or cut]))

    def _training(self, run: _Run) -> tuple[attempts.Attempt | None, list[str]]:
        """The attempt at a training that a run waits for, and words about it.

        A sweep can make such a training as a separate piece of work. The words name the base whose training
        it is. If there is no attempt, they say which of the run's trainings are in the store.
        """
        if not attempts.training_file("").parent.is_dir():
            return None, []
        if run.trainings is None:
            run.trainings = self._trainings(run.job)
        found = [(attempts.read(attempts.training_file(one.hash)), one) for one in run.trainings]
        there = [(attempt, one) for attempt, one in found if attempt is not None]
        if there:
            attempt, one = min(there, key=lambda pair: pair[0].state != "running")
            return attempt, [f"base {one.base}"] if one.base else []
        return None, _stored(run.trainings)

    def _trainings(self, job: Job) -> list[_Training]:
        """The trainings of a run's parts, and the trainings that these build on."""
        task, spec = self._tasks.of(job.spec), job.spec
        with plugin_code(spec.task, None, "parts"):
            parts = list(task.parts(job.seed).values())
        found: dict[_Training, None] = {}
        for part in parts:
            identity, level = identify(spec, part, job.seed), spec
            found[_Training(identity.training)] = None
            while identity.base is not None and level.base is not None:
                identity, level = identity.base, level.base
                found[_Training(identity.training, level.model.name)] = None
        return list(found)


def _stored(trainings: Iterable[_Training]) -> list[str]:
    """Say in words which of a run's trainings are in the store."""
    whose: dict[str, list[bool]] = {}
    for one in trainings:
        state = home() / "runs" / one.hash / "state.json"
        whose.setdefault(f"base {one.base}" if one.base else "", []).append(state.exists())
    return [
        f"{name} trained".strip() if all(there) else f"{name} trained: {sum(there)} of {len(there)}".strip()
        for name, there in whose.items()
        if any(there)
    ]


def duration(seconds: float) -> str:
    """Format seconds for people: "40 s", "12:05", "3:10:00"."""
    minutes, rest = divmod(int(min(seconds, 3_599_999)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def _found(job: Job, results: Path, tasks: Tasks) -> _Run:
    try:
        identity = identify(job.spec, tasks.of(job.spec), job.seed)
    except Exception as error:  # as in a sweep, any mistake of a task fails only the task's own runs
        return _Run(job, RunState(job.label(), "failed", said=one_line(error)))
    path = result_path(job, identity, results)
    log = home() / "logs" / path.relative_to(results).with_suffix(".log")
    attempt = attempts.attempt_file(job.spec.task.name, job.spec.model.name, identity.run_id)
    return _Run(job, None, path, attempt, log)


def _newer(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_mtime > other.stat().st_mtime
    except OSError:
        return False


def _last_error(log: Path) -> str:
    """The first line of the error that a log ends with; "" if there is no log or it ends without an error."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    while lines and lines[-1].startswith("  "):
        lines.pop()
    last = lines[-1] if lines else ""
    return last.removeprefix("error: ") if last.startswith("error: ") else ""
