"""Make a graph of work from the runs of a plan. A training that several runs need is done once and first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ebbench import contract
from ebbench.contract import Store
from ebbench.plugins.guard import plugin_code
from ebbench.running.identity import Identity, identify
from ebbench.running.spec import Spec
from ebbench.running.words import BASE, OWN
from ebbench.storage.files import home
from ebbench.sweeps.plan import Job
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.work import Run, States, Tasks, Work, runs_left


def find_work(
    jobs: Iterable[Job],
    results: Path,
    store: Store,
    options: Sequence[str],
    summary: Summary,
    *,
    workers: int = 1,
) -> list[Work]:
    """Return the work that remains of the jobs, in order, with the work that each run waits for.

    The other arguments are those of `runs_left`. With several `workers`, a training that several runs need is
    a separate piece of work, and these runs wait for it. If there are fewer runs than workers, the parts of a
    run are trained in parallel too. A single worker makes one run after another, each with its trainings: an
    extra process for a training would only cost time.
    """
    tasks = Tasks(store)
    runs = runs_left(jobs, results, tasks, options, summary)
    if workers == 1:
        return [run.work() for run in runs]
    return _Graph(runs, tasks, workers).works()


class _Graph:
    def __init__(self, runs: Sequence[Run], tasks: Tasks, workers: int) -> None:
        self._runs, self._tasks = runs, tasks
        self._users = Counter(one.training for run in runs for one in _levels(run.identity))
        # The number of pieces into which the parts of a run are divided for training.
        self._pieces = max(1, workers // max(1, len(runs)))
        self._made: dict[str, list[Work]] = {}
        self._last: dict[str, Work] = {}
        self._works: list[Work] = []

    def works(self) -> list[Work]:
        """All work, ordered so that each piece stands after the work that it needs."""
        for run in self._runs:
            needs = self._trainings(run)
            needs += self._before(run)
            work = run.work(needs)
            self._last[run.identity.training] = work
            self._works.append(work)
        return self._works

    def _before(self, run: Run) -> list[Work]:
        """The previous run with the same training, if the model keeps no state that both could use."""
        last = self._last.get(run.identity.training)
        return [last] if last is not None and not run.job.spec.model.cls.keeps_state else []

    def _trainings(self, run: Run) -> list[Work]:
        """The trainings that a run waits for."""
        spec, identity = run.job.spec, run.identity
        below: list[Work] = []
        if spec.base is not None and identity.base is not None:
            below = self._training(run, spec.base, identity.base, BASE, ())
        return self._training(run, spec, identity, OWN, below) or below

    def _training(
        self, run: Run, spec: Spec, identity: Identity, until: str, needs: Sequence[Work]
    ) -> list[Work]:
        """The work of one training; empty if only one run needs it or if the store has it.

        A run's own training (`until` is `OWN`) is also separate work if its parts are trained in pieces.
        """
        known = self._made.get(identity.training)
        if known is not None:
            return known
        shared = self._users[identity.training] > 1
        if not spec.model.cls.keeps_state or not (shared or (until == OWN and self._pieces > 1)):
            return []
        try:
            parts = self._parts_left(run, spec, until)
        except Exception:  # the run itself fails with the same error and reports it
            return []
        pieces = min(len(parts), self._pieces) if until == OWN else min(1, len(parts))
        made = []
        if pieces > 1 or (pieces == 1 and shared):
            names = list(parts)
            for number in range(pieces):
                chosen = names[number::pieces] if pieces > 1 else []
                made.append(_work(run, spec, identity, until, chosen, parts, needs, number))
        self._made[identity.training] = made
        self._works += made
        return made

    def _parts_left(self, run: Run, spec: Spec, until: str) -> dict[str, Path]:
        """The state file of each part of a run that the store does not have, by the part's name.

        If `until` is `BASE`, the states are those of the base's trainings.
        """
        job = run.job
        with plugin_code(job.spec.task, None, "parts"):
            parts: dict[str, contract.Task] = dict(self._tasks.of(job.spec).parts(job.seed))
        states = {}
        for name, part in parts.items():
            found: Identity | None = identify(job.spec, part, job.seed)
            if found is not None and until == BASE:
                found = found.base
            assert found is not None
            path = home() / "runs" / found.training / "state.json"
            if not path.exists():
                states[name] = path
        return states


def _levels(identity: Identity) -> list[Identity]:
    """The identity of a training, and that of its base if it has one."""
    return [identity] if identity.base is None else [identity, identity.base]


def _work(
    run: Run,
    spec: Spec,
    identity: Identity,
    until: str,
    chosen: Sequence[str],
    parts: Mapping[str, Path],
    needs: Sequence[Work],
    number: int,
) -> Work:
    """The work of a training, or of its `chosen` parts."""
    name = f"{spec.model.name}:{spec.variant}" if spec.variant else spec.model.name
    said = [run.job.request.task, name, run.job.request.budget, f"seed {run.job.seed}"]
    label = f"training of {' '.join(said)}" + (f" ({', '.join(chosen)})" if chosen else "")
    words = [word for part in chosen for word in ("--part", part)]
    states = tuple(path for part, path in parts.items() if not chosen or part in chosen)
    log = run.log.with_name(f"training-{identity.training[:10]}-{number}.log")

    argv = [*run.argv, "--until", until, *words]
    return Work(label, argv, log, states[0], States(states), tuple(needs), training=True)
