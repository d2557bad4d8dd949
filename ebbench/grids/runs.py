"""Make the runs of a grid by a sweep, and gather them into one file of rows. They are not on the board.

A row is one setting of one method with one seed. The results of the runs stay in the run store, under
`grids/NAME`. The file `runs.jsonl` is the one to commit. A run that has a row is not made again. A run with
other code, or with another value of what the settings share, replaces the older row of its setting.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ebbench.data.store import Store
from ebbench.device import gpus_for
from ebbench.errors import StorageError
from ebbench.grids.spec import Grid, Setting
from ebbench.record import resultfiles
from ebbench.running.identity import identify
from ebbench.storage.files import home
from ebbench.storage.runstore import forget, write
from ebbench.sweeps.executors import Executor, Handle, LocalProcesses, Resources
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.sweep import sweep
from ebbench.sweeps.work import Tasks, result_path

ROWS = "runs.jsonl"
# The beginning of the error of a training that diverged. This is an outcome of the setting, not a failure.
DIVERGED = "error: training diverged"


class Row(BaseModel):
    """The outcome of one run: its metrics, or that it diverged."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    method: str
    index: int
    seed: int
    axes: dict[str, Any]
    outcome: Literal["done", "diverged"]
    metrics: dict[str, float] = Field(default_factory=dict)
    # The seconds of the training, and the number of trainable parameters.
    seconds: float | None = None
    parameters: int | None = None
    # The run id, which ends in a hash of everything that determines the run.
    run: str
    # Short hashes: of what the settings of its method share (Grid.basis), of the model's code, of the task's.
    basis: str
    model_code: str
    task_code: str
    commit: str = ""


@dataclass(frozen=True)
class _Place:
    """The run id of a setting's run, and the paths of its result and its training."""

    setting: Setting
    run: str
    result: Path
    training: Path


def run_grid(
    grid: Grid,
    settings: Sequence[Setting],
    *,
    folder: Path,
    data_dir: Path | None,
    executor: Executor | None = None,
    **how: Any,
) -> Summary:
    """Run the settings that have no row yet, and write the rows to `folder`. `how` goes to `sweep`.

    A training that diverged counts as done, and its row says so. Raises StorageError and ResultError.
    """
    file = folder / ROWS
    before = read_rows(file)
    known = {(row.method, row.run) for row in before}
    results = results_of(grid)
    tasks = Tasks(Store(data_dir))
    places: list[_Place] = []
    left: list[Setting] = []
    for setting in settings:
        try:
            place = _place(setting, results, tasks)
        except Exception:  # the sweep meets the same error and reports it
            left.append(setting)
            continue
        if (setting.method, place.run) not in known:
            places.append(place)
            left.append(setting)
    by_log = {_log(place, results): place for place in places}
    chosen = executor or LocalProcesses(gpus_for(how.get("device", "auto"), os.environ))
    if not grid.keep:
        chosen = _Forgetting(chosen, by_log)
    summary = sweep(
        [setting.job for setting in left], results=results, data_dir=data_dir, executor=chosen, **how
    )
    summary.existed += [setting.job.label() for setting in settings if setting not in left]
    diverged = {label for label, reason in summary.failed if DIVERGED in reason}
    summary.failed = [(label, reason) for label, reason in summary.failed if label not in diverged]
    summary.done += sorted(diverged)
    if not grid.keep:
        for place in places:
            if place.setting.job.label() in diverged:
                forget(place.training)
    made = [row for place in places if (row := _row(grid, place, diverged)) is not None]
    if made:
        write_rows(grid, file, replaced(before, made))
    return summary


def results_of(grid: Grid) -> Path:
    """The folder of the runs' results, in the run store."""
    return home() / "grids" / grid.name


def read_rows(file: Path) -> list[Row]:
    """Read the rows of a file; [] if it does not exist. Raises StorageError for an invalid line."""
    if not file.exists():
        return []
    number = 0
    rows = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):  # noqa: B007
            rows.append(Row.model_validate_json(line))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise StorageError(
            f"the grid's rows cannot be read at line {number}: {said}",
            where=str(file),
            expected="one JSON object a line, as `ebbench grid` writes them",
            fix="restore the file, or move it away: runs in the run store are gathered again",
        ) from error
    return rows


def replaced(before: Sequence[Row], made: Sequence[Row]) -> list[Row]:
    """Join the rows `before` and `made`. For each setting and seed, only the last row stays."""

    def key(row: Row) -> str:
        return json.dumps([row.method, row.axes, row.seed], sort_keys=True)

    return list({key(row): row for row in [*before, *made]}.values())


def current(grid: Grid, rows: Sequence[Row]) -> list[Row]:
    """The rows of settings that the grid has now. The file may have rows from before a change of the grid."""
    methods = {method.name: method for method in grid.methods}
    return [
        row
        for row in rows
        if (method := methods.get(row.method)) is not None
        and method.place(row.axes) is not None
        and row.basis == grid.basis(method)
        and row.seed in grid.seeds
    ]


def write_rows(grid: Grid, file: Path, rows: Sequence[Row]) -> None:
    """Write the rows, sorted and numbered by the present grid, so that equal rows give equal files.

    Raises StorageError.
    """
    order = {method.name: number for number, method in enumerate(grid.methods)}
    methods = {method.name: method for method in grid.methods}

    def numbered(row: Row) -> Row:
        place = methods[row.method].place(row.axes) if row.method in methods else None
        return row if place is None else row.model_copy(update={"index": place})

    ordered = sorted(
        map(numbered, rows),
        key=lambda row: (order.get(row.method, len(order)), row.method, row.index, row.seed, row.run),
    )
    lines = [
        json.dumps(row.model_dump(mode="json"), sort_keys=True, allow_nan=False) + "\n" for row in ordered
    ]
    write(file, "".join(lines).encode())


def _place(setting: Setting, results: Path, tasks: Tasks) -> _Place:
    job = setting.job
    identity = identify(job.spec, tasks.of(job.spec), job.seed)
    return _Place(
        setting,
        identity.run_id,
        result_path(job, identity, results),
        home() / "runs" / identity.training,
    )


def _log(place: _Place, results: Path) -> Path:
    return home() / "logs" / place.result.relative_to(results).with_suffix(".log")


def _row(grid: Grid, place: _Place, diverged: set[str]) -> Row | None:
    setting, spec = place.setting, place.setting.job.spec
    row = partial(
        Row,
        method=setting.method,
        index=setting.index,
        seed=setting.job.seed,
        axes=dict(setting.axes),
        run=place.run,
        basis=next(grid.basis(method) for method in grid.methods if method.name == setting.method),
        model_code=spec.model.code_hash[:10],
        task_code=spec.task.code_hash[:10],
    )
    if place.result.exists():
        found = resultfiles.read(place.result)
        git = found.provenance.git
        return row(
            outcome="done",
            metrics=dict(found.metrics),
            seconds=round(found.training.seconds, 2),
            parameters=found.training.parameters,
            commit=git.commit[:10] if git else "",
        )
    return row(outcome="diverged") if setting.job.label() in diverged else None


class _Forgetting:
    """An executor that removes the trained state of each run with a result: 190 GB in a large grid."""

    def __init__(self, inner: Executor, places: Mapping[Path, _Place]) -> None:
        self._inner, self._places, self.preempts = inner, dict(places), inner.preempts
        self._users = Counter(place.training for place in places.values())

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        return _Ending(self._inner.submit(argv, environment, resources, log), log, self._ended)

    def _ended(self, log: Path) -> None:
        """A run is over: if it has its result and no other run needs its training, remove the training."""
        place = self._places.get(log)
        if place is None or not place.result.exists():
            return
        del self._places[log]
        self._users[place.training] -= 1
        if not self._users[place.training]:
            forget(place.training)

    def together(self) -> AbstractContextManager[None]:
        return self._inner.together()

    def wait(self, handles: Sequence[Handle]) -> None:
        self._inner.wait([one.inner for one in handles if isinstance(one, _Ending)])

    def close(self) -> None:
        self._inner.close()


@dataclasses.dataclass
class _Ending:
    inner: Handle
    log: Path
    ended: Callable[[Path], None]

    def poll(self) -> int | None:
        return self.inner.poll()

    def cancel(self) -> None:
        self.inner.cancel()

    def end(self) -> None:
        self.inner.end()
        self.ended(self.log)
