"""A model's finished runs -> what goes into a bundle: each result, and the arrays of its metrics."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ebbench import contract
from ebbench.data.store import Store
from ebbench.errors import UsageError
from ebbench.plugins import loader
from ebbench.record import resultfiles
from ebbench.record.schema import BasePart, Result
from ebbench.running import engine, given, spec
from ebbench.running.progress import Reporter
from ebbench.running.request import request_of
from ebbench.running.settings import Settings
from ebbench.submissions import checking, verification
from ebbench.submissions.checking import TOLERANCE


@dataclass
class Taken:
    """Results and their arrays by run id; `again` are those that had to be scored again."""

    results: dict[str, Result] = field(default_factory=dict)
    arrays: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)


def chosen(plugin: loader.Plugin, runs: Sequence[str], results: Path) -> list[Result]:
    """The results that `runs` name, or all of the model's. Raises UsageError where there are none of it."""
    if runs:
        found = [resultfiles.find(run, results) for run in runs]
    else:
        found = [made for made in resultfiles.load_all(results)[0] if made.model.name == plugin.name]
    strangers = [made for made in found if made.model.name != plugin.name]
    if strangers or not found:
        raise UsageError(
            f"{strangers[0].run_id} is a run of {strangers[0].model.name}"
            if strangers
            else f"there are no results of {plugin.name}",
            where=f"--runs, --results {results}",
            expected=f"results of {plugin.name}",
            fix=f"`ebbench run --task TASK --model {plugin.folder.name}` makes one",
        )
    return found


def taken(
    plugin: loader.Plugin,
    model: str,
    runs: Sequence[Result],
    *,
    device: torch.device,
    store: Store,
    reporter: Reporter,
) -> Taken:
    """The runs as they go into a bundle; `model` is the folder of `plugin`, as the user named it.

    Where the run store has what the task was given of the very code that is here, the result is the run's
    own, and no code of the model runs. Else the stored training is scored again. The metrics are those of
    the arrays, rounded as a bundle has them. Raises BundleError where a task cannot score the arrays, and
    what `engine.run` raises.
    """
    made = Taken()
    rest = []
    for run in runs:
        if (arrays := _given(run, plugin, store)) is None:
            rest.append(run)
            continue
        titled = run.model.model_copy(update={"title": plugin.card.title})
        _add(made, run.model_copy(update={"model": titled}), arrays, store, reporter)
    with tempfile.TemporaryDirectory() as scratch:
        for run in rest:
            record: dict[str, np.ndarray] = {}
            settings = Settings(
                device=device,
                results=Path(scratch),
                store=store,
                trainings=frozenset().union(*(one.trainings for one in runs)),
                record=record,
                reporter=reporter,
            )
            asked = spec.resolve(request_of(run, model=model))
            # Two results of one run (of the code as it was, and as it is) are one.
            if engine.run_id(asked, run.seed, settings) in made.results:
                continue
            reporter.note(f"{run.run_id}: the run store has not kept what its task was given; scored again")
            for outcome in engine.run(asked, [run.seed], settings):
                _add(made, outcome.result, record, store, reporter)
                made.again.append(outcome.result.run_id)
    return made


def _given(run: Result, plugin: loader.Plugin, store: Store) -> dict[str, np.ndarray] | None:
    """What the task was given in a run; None where the run store has it no more, or the code is another."""
    task = loader.load("task", run.task.name)
    same = (
        run.engine == contract.ENGINE
        and run.model.code_hash == plugin.code_hash
        and (run.task.code_hash, run.task.data_code_hash) == (task.code_hash, task.data_code_hash)
        and _same_base(run.training.base)
    )
    asked = verification.task_of(run, store, []) if same else None
    return None if asked is None else given.find(run, asked)


def _same_base(base: BasePart | None) -> bool:
    """Whether what a training was built on is here, with the code that it had."""
    if base is None:
        return True
    known = base.name in loader.names("model") and loader.load("model", base.name).code_hash == base.code_hash
    return known and _same_base(base.base)


def _add(
    made: Taken, run: Result, arrays: Mapping[str, np.ndarray], store: Store, reporter: Reporter
) -> None:
    checks: list[checking.Check] = []
    replayed = verification.replayed_claim(run, arrays, store, checks, reporter)
    checking.first_bad(checks)
    assert replayed is not None, "every check of it was good"
    # The metrics are those of the arrays, on whatever device they were made.
    packed = verification.rescored(run, replayed)
    for name, value in packed.metrics.items():
        before = run.metrics.get(name, value)
        if abs(value - before) > TOLERANCE * max(1.0, abs(value), abs(before)):
            reporter.note(
                f"{run.run_id}: {name} was {before:.6g}; of the arrays as a bundle has them it is {value:.6g}"
            )
    made.results[run.run_id], made.arrays[run.run_id] = packed, arrays
