"""Collect the content of a bundle from a model's finished runs: results, and the arrays of their metrics."""

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
    """Results and their arrays by run id. `again` lists the run ids that had to be scored again."""

    results: dict[str, Result] = field(default_factory=dict)
    arrays: dict[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    again: list[str] = field(default_factory=list)


def chosen(plugin: loader.Plugin, runs: Sequence[str], results: Path) -> list[Result]:
    """The results that `runs` name, or all results of the model if `runs` is empty.

    Raises UsageError if there are none, or if one is of another model.
    """
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
    """The results and arrays of `runs` as they go into a bundle.

    `model` is the folder of `plugin`, as the user named it. The run store may still have the arrays that the
    task was given, and the code of the model and the task may be unchanged. Then the stored result is used
    and no code of the model runs. Otherwise the stored training is scored again.

    In both cases the metrics are those of the arrays as rounded for the bundle. Raises BundleError if a task
    cannot score the arrays, and the errors of `engine.run`.
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
            # One run can have two results, from the earlier and from the present code. The bundle gets one.
            if engine.run_id(asked, run.seed, settings) in made.results:
                continue
            reporter.note(f"{run.run_id}: the run store lacks its scored arrays; scored again")
            for outcome in engine.run(asked, [run.seed], settings):
                _add(made, outcome.result, record, store, reporter)
                made.again.append(outcome.result.run_id)
    return made


def _given(run: Result, plugin: loader.Plugin, store: Store) -> dict[str, np.ndarray] | None:
    """The arrays that the task was given in a run.

    Return None if the run store no longer has them, or if the code has changed since.
    """
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
    """Whether the model that a training was built on is here, with unchanged code. True without a base."""
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
    # The run may have been scored on another device. The bundle's metrics are those of its arrays.
    packed = verification.rescored(run, replayed)
    for name, value in packed.metrics.items():
        before = run.metrics.get(name, value)
        if abs(value - before) > TOLERANCE * max(1.0, abs(value), abs(before)):
            reporter.note(
                f"{run.run_id}: {name} was {before:.6g}; from the arrays in the bundle it is {value:.6g}"
            )
    made.results[run.run_id], made.arrays[run.run_id] = packed, arrays
