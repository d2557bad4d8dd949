"""Find the work of a plan in a separate job, on a machine that has the data sets.

The sweep starts this module as a program through its executor. So a login node needs neither the data sets
nor torch. The request to the job and its answer are files in the run store.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ebbench.errors import EbbenchError, StorageError, UsageError
from ebbench.running.expected import Expected
from ebbench.storage.files import home, write_atomically
from ebbench.sweeps.executors import Executor, Resources
from ebbench.sweeps.outcome import last_words, new_submission
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.work import States, Work, one_line


@dataclasses.dataclass(frozen=True)
class Asked:
    """The request to the job: the arguments of `graph.find_work`, with the plan's file for its jobs."""

    plan: str
    results: str
    data_dir: str | None
    options: Sequence[str]
    workers: int


def find_work_elsewhere(
    asked: Asked,
    summary: Summary,
    executor: Executor,
    environment: Mapping[str, str],
    resources: Resources,
) -> list[Work]:
    """Find the work of a plan by a job of the executor, and return it.

    Runs that are done or failed already go into the summary. Raises UsageError if the job fails, and
    StorageError if its answer cannot be read.
    """
    # The executor writes the outcome of the job beside its log, with the suffix .json.
    place = home() / "plans" / f"{Path(asked.plan).stem}-{new_submission()}.work"
    log = place.with_suffix(".log")
    write_atomically(_request(place), json.dumps(dataclasses.asdict(asked)).encode())
    argv = [sys.executable, "-P", "-m", __name__, str(place)]
    try:
        with executor.together():
            handle = executor.submit(argv, environment, resources, log)
    except Exception as error:  # an executor of any kind
        raise UsageError(
            f"the job that reads the plan cannot be started: {one_line(error)}",
            where="the executor",
            fix="correct what the message reports, or leave out --plan-as-job",
        ) from error
    try:
        while (code := handle.poll()) is None:
            executor.wait([handle])
    finally:
        handle.end()
    if code:
        raise UsageError(
            f"the job that reads the plan ended with exit code {code}: {last_words(log)}",
            where=str(log),
            fix="correct what it reports; the job needs the installation, the data sets and the run store",
        )
    return _read(place, summary)


def _request(place: Path) -> Path:
    return place.with_suffix(".asked")


def _write(place: Path, works: Sequence[Work], summary: Summary) -> None:
    numbers = {work: number for number, work in enumerate(works)}
    document = {
        "existed": summary.existed,
        "failed": summary.failed,
        "works": [_plain(work, numbers) for work in works],
    }
    write_atomically(place, json.dumps(document).encode())


def _plain(work: Work, numbers: Mapping[Work, int]) -> dict[str, Any]:
    found = work.finished
    document = {
        "label": work.label,
        "argv": list(work.argv),
        "log": str(work.log),
        "path": str(work.path),
        "needs": [numbers[need] for need in work.needs],
        "training": work.training,
    }
    if isinstance(found, Expected):
        return document | {"expected": dataclasses.asdict(found) | {"path": str(found.path)}}
    assert isinstance(found, States)
    return document | {"states": [str(path) for path in found.paths]}


def _read(place: Path, summary: Summary) -> list[Work]:
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"the output of the job that reads the plan cannot be read: {error}",
            where=str(place),
            fix="put the run store (EBBENCH_HOME) into a folder that all machines share",
        ) from error
    summary.existed += document["existed"]
    summary.failed += [(label, reason) for label, reason in document["failed"]]
    works: list[Work] = []
    for one in document["works"]:
        if "expected" in one:
            given = one["expected"]
            finished: Expected | States = Expected(**given | {"path": Path(given["path"])})
        else:
            finished = States(tuple(map(Path, one["states"])))
        # The file lists each piece of work after the work that it needs.
        needs = tuple(works[number] for number in one["needs"])
        log, path = Path(one["log"]), Path(one["path"])
        works.append(Work(one["label"], one["argv"], log, path, finished, needs, one["training"]))
    return works


def main(place: Path) -> int:
    """Do the job: read the plan, find its work, and write it to a file. Return the exit code."""
    from ebbench.data.store import Store
    from ebbench.sweeps.graph import find_work
    from ebbench.sweeps.plan import read_plan

    asked = Asked(**json.loads(_request(place).read_text(encoding="utf-8")))
    data_dir = None if asked.data_dir is None else Path(asked.data_dir)
    summary = Summary()
    try:
        jobs = read_plan(Path(asked.plan))
        works = find_work(
            jobs, Path(asked.results), Store(data_dir), asked.options, summary, workers=asked.workers
        )
        _write(place, works, summary)
    except EbbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
