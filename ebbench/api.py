"""The functions for notebooks: run, read results, tabulate and compare them, load a trained model.

The command line is built on them. Heavy packages are imported only when a function needs them. Functions
raise UsageError, DataError, PluginError or StorageError (all are EbbenchError) for problems that the caller
can fix.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebbench.errors import UsageError, shown, unknown

if TYPE_CHECKING:
    import pandas
    import torch

    from ebbench.board.names import Names
    from ebbench.board.row import Row
    from ebbench.contract import Model
    from ebbench.plugins.loader import Plugin
    from ebbench.record.resultfiles import Problem
    from ebbench.record.schema import Result
    from ebbench.running.loggers import Factory
    from ebbench.running.settings import Outcome

AnyPath = str | os.PathLike[str]


def run(
    task: AnyPath,
    model: AnyPath,
    *,
    budget: str = "cpu",
    protocol: str = "",
    sampler: str = "",
    seeds: int | str | Iterable[int | str] = 0,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    data_dir: AnyPath | None = None,
    results: AnyPath = "results",
    force: bool = False,
    threads: int | None = None,
    time_limit: float | str | None = None,
    quiet: bool = True,
    logger: Factory | str | None = None,
    isolated: bool = False,
    unboxed: bool = False,
) -> list[Result]:
    """Train a model on a task, score it, and write one result per seed; returns the results in seed order.

    This is `ebbench run`: finished runs are read and not repeated, and interrupted runs resume.

    - `task`, `model`: a name, or the path of a folder; "NAME:VARIANT" for a variant of a model.
    - `budget`: "smoke" (seconds), "cpu" (about half an hour on two cores) or "paper" (a GPU).
    - `protocol`, `sampler`: "" is the task's first protocol, and the model's default sampler.
    - `seeds`: a number, text such as "0-4" or "0,2,7", or several of these.
    - `settings`: task options, model settings and "SAMPLER.KNOB" by name, as for `--set`.
    - `device`: "auto", "cpu", "cuda" or "cuda:N". `data_dir`: the folder with the data sets.
    - `results`: the folder for results. `force`: train and score finished runs again.
      `threads`: number of threads (0: every core); None leaves it unchanged.
    - `time_limit`: seconds, or text such as "9m"; the work then stops at a checkpoint. `quiet`: False shows
      the progress on stderr. `logger`: "tensorboard", "wandb", "jsonl", or a factory of a Logger.
    - `isolated`: run the model in a process of its own, in a box (a sandbox); with `unboxed`, without a box.

    Raises Stopped after the time limit, Ctrl-C or SIGTERM: finished work is kept, and the same call resumes.
    """
    # All arguments, by name.
    asked = dict(locals())
    return [outcome.result for outcome in runs(**asked)]


def runs(task: AnyPath, model: AnyPath, **how: Any) -> Iterator[Outcome]:
    """As `run`, but yields each result and its file as soon as it is finished.

    Arguments are checked immediately; the work is done as the outcomes are consumed. `how` takes the other
    arguments of `run`. With `wait=False`, Stopped is raised if another process works on the same training.
    """
    from ebbench.asked import prepared

    resolved, run_seeds, made = prepared(task, model, **how)
    # After the number of threads is set, because this loads torch.
    from ebbench.running import engine

    return engine.run(resolved, run_seeds, made)


def trainings(
    task: AnyPath, model: AnyPath, *, until: str = "training", parts: Sequence[str] = (), **how: Any
) -> Iterator[str]:
    """As `runs`, but only trains; yields a line for each training that is then in the run store.

    `until` is "training", or "base" for the training of the model's base only; `parts` are the parts to
    train, all by default; `how` is that of `runs`.
    """
    if until not in ("training", "base"):
        raise unknown("end", until, ["training", "base"], where="--until")
    from ebbench.asked import prepared

    resolved, run_seeds, made = prepared(task, model, **how)
    from ebbench.running import engine

    return engine.train(resolved, run_seeds, made, until, parts)


def results(
    folder: AnyPath | Iterable[AnyPath] = "results", *, task: str = "", model: str = ""
) -> list[Result]:
    """The results in a `folder`, or in several, sorted by path.

    `task` and `model` select one task and one model: a name with all its variants, or one "NAME:VARIANT". A
    file that is not a result is skipped with a warning. Raises UsageError for a name that neither a result
    nor a plug-in has.
    """
    from ebbench.plugins import loader
    from ebbench.running.words import check_types

    check_types(task=task, model=model)
    found, problems = read_folders(folder)
    for problem in problems:
        warnings.warn(f"left out: {problem.path}: {problem.reason}", stacklevel=2)
    tasks = {result.task.name for result in found}
    models = {name for result in found for name in (result.model.name, _with_variant(result))}
    names: list[tuple[loader.Kind, str, set[str]]] = [("task", task, tasks), ("model", model, models)]
    for kind, asked, there in names:
        # A plug-in without a result here is no mistake.
        if asked and asked not in there and asked.partition(":")[0] not in loader.names(kind):
            raise unknown(kind, asked, {*there, *loader.names(kind)})
    return [
        result
        for result in found
        if task in ("", result.task.name) and model in ("", result.model.name, _with_variant(result))
    ]


def _with_variant(result: Result) -> str:
    return f"{result.model.name}:{result.model.variant}"


def read_folders(folders: AnyPath | Iterable[AnyPath]) -> tuple[list[Result], list[Problem]]:
    """The results in one folder or several, and every JSON file that is not a result.

    Raises UsageError for a folder that does not exist.
    """
    from ebbench.record.resultfiles import load_all

    found: list[Result] = []
    problems: list[Problem] = []
    given = _listed(folders, (str, os.PathLike), "a folder, or several")
    for path in dict.fromkeys(absolute_path(folder, "results") for folder in given):
        if not path.is_dir():
            raise UsageError(
                f"there is no folder '{shown(path)}'",
                where="results",
                expected="a folder with results",
                fix="name another; `ebbench run` and ebbench.run(...) make one",
            )
        read, wrong = load_all(path)
        found += read
        problems += wrong
    return found, problems


def _listed(given: Any, kinds: tuple[type, ...], expected: str) -> list[Any]:
    """One folder, or several things of these kinds, as a list. Raises UsageError for anything else."""
    alone = isinstance(given, str | os.PathLike) or not isinstance(given, Iterable)
    listed = [given] if alone else list(given)
    for one in listed:
        if not isinstance(one, kinds):
            raise UsageError(f"results cannot be {one!r}", where="results", expected=expected)
    return listed


def table(
    task: AnyPath,
    *,
    results: AnyPath | Iterable[AnyPath] | Sequence[Result] = "results",
    budget: str = "",
    protocol: str = "",
) -> pandas.DataFrame:
    """The table of a `task`: one row per model, configuration, sampler, budget and protocol, over its seeds.

    `results` is a folder, several, or a list of results; `budget` and `protocol` select one each. Columns:

    - tier (who confirmed it), rank (missing for a control, for an unconfirmed claim, and if nothing decides
      it), kind ("model" or "control"), model, variant, settings (the task's options, and changed knobs),
      sampler, budget, protocol, seeds (a list), code ("current" if today's code would make the same row);
    - for each metric NAME its mean, and NAME_low and NAME_high, the interval over the seeds (Student's t,
      95 %; missing with a single seed). `ebbench show TASK` lists the units.

    Rows are in the board's order: each group by rank, controls last. docs/table.md says more.
    """
    from ebbench.board import frame
    from ebbench.running.words import check_types

    check_types(task=task, budget=budget, protocol=protocol)
    plugin, rows = _rows(task, results, budget=budget, protocol=protocol)
    return frame.of_rows(rows, plugin.cls.metrics)


def compare(
    task: AnyPath,
    a: str,
    b: str,
    *,
    results: AnyPath | Iterable[AnyPath] | Sequence[Result] = "results",
    all_metrics: bool = False,
) -> pandas.DataFrame:
    """Two rows of a `task` against each other, by a paired t-test over their common seeds.

    `a` and `b` name rows: "MODEL", "MODEL:VARIANT" or "MODEL@SAMPLER", or a label as `ebbench table` prints
    it. `results` is a folder, several, or a list of results. The table has one line for each group in which
    both have a row (same task version, options, data, protocol and budget), and for each primary metric, or
    each metric with `all_metrics`. Columns:

    - group, metric, a, b, mean_a, mean_b, seeds (the common ones);
    - difference (a - b), with low and high, its 95 % interval; that of the means, by Welch, if fewer than
      two seeds are common; missing if a side then has a single seed;
    - p, and adjusted (by Holm's method, over all lines); missing without a test;
    - verdict: the label of the better row, "tie", "untested", or "" if neither direction is better.

    `ebbench compare` also compares samples made elsewhere, and methods over the data sets of one task.
    Raises UsageError if no group has both rows, or if a name means several rows.
    """
    from ebbench.board import compare as comparing
    from ebbench.board import frame, labels, named
    from ebbench.running.words import check_types

    check_types(task=task, a=a, b=b)
    named.must_differ(a, b)
    plugin, rows = _rows(task, results)
    pairs = []
    for title, group in labels.comparable(rows):
        one, other = named.chosen(a, group, title), named.chosen(b, group, title)
        if one and other:
            pairs.append((title, comparing.side(one), comparing.side(other)))
    if not pairs:
        raise named.not_comparable(a, b, [a, b], rows, f"task '{plugin.name}'")
    metrics = [metric for metric in plugin.cls.metrics if metric.primary or all_metrics]
    return frame.of_comparisons(comparing.compare(pairs, metrics))


def _rows(
    task: AnyPath, given: AnyPath | Iterable[AnyPath] | Sequence[Result], **only: str
) -> tuple[Plugin, list[Row]]:
    """A task and its rows, from folders or from results, restricted as by `select`."""
    from ebbench.board import names
    from ebbench.plugins import loader
    from ebbench.record.schema import Result

    listed = _listed(given, (str, os.PathLike, Result), "a folder, several, or a list of results")
    folders = [one for one in listed if isinstance(one, str | os.PathLike)]
    found = results(folders) if folders else []
    found += [one for one in listed if not isinstance(one, str | os.PathLike)]
    plugin = loader.load("task", os.fspath(task))
    return plugin, select(plugin, found, names=names.read(*map(Path, folders)), **only)


def select(
    plugin: Any, found: Iterable[Result], *, names: Names, budget: str = "", protocol: str = ""
) -> list[Row]:
    """A task's rows (its plug-in) among results, restricted to a budget and a protocol if given.

    `names` are the decisions on disputed names that apply to the results.

    Raises UsageError for an unknown budget or protocol.
    """
    from ebbench.board import table as tables
    from ebbench.board.currency import Today
    from ebbench.plugins.budgets import BUDGETS

    rows = tables.rows(
        found,
        plugin.name,
        metrics=plugin.cls.metrics,
        published=plugin.cls.published,
        limits=plugin.cls.limits,
        protocols=list(plugin.cls.protocols),
        names=names,
        # A task that was named by its folder is here, although its name alone would not lead to it.
        today=Today({("task", plugin.name): plugin}),
    )
    budgets, protocols = {*BUDGETS, *(row.budget for row in rows)}, set(plugin.cls.protocols)
    if budget and budget not in budgets:
        raise unknown("budget", budget, budgets, where="--budget")
    if protocol and protocol not in protocols:
        raise unknown("protocol", protocol, protocols, where=f"task '{plugin.name}'")
    return [row for row in rows if budget in ("", row.budget) and protocol in ("", row.protocol)]


def trained(
    result: Result | AnyPath | None = None,
    *,
    task: AnyPath = "",
    model: AnyPath = "",
    seed: int | None = None,
    budget: str = "",
    protocol: str = "",
    settings: Mapping[str, Any] | None = None,
    part: str = "",
    device: str | torch.device = "cpu",
    data_dir: AnyPath | None = None,
) -> Model:
    """The trained model of a result, or of a task, model and seed, for sampling or scoring.

    It is loaded from this machine's run store, in eval mode, with its networks on `device`. Nothing is
    trained, except a model that keeps no state (a control). It has the methods that its method supports:
    `sample(n)` returns a float tensor (n, *shape) in the data's range, `energy(x)` a tensor (n,), lower is
    more typical. Call them under `torch.no_grad()` if you need no gradient.

    - `result`: a result, or its file. `task` and `model` are then only needed if they are your own folders:
      give their paths.
    - without it `task` and `model`, with `seed` (0), `budget` ("cpu"), `protocol` and `settings` as for
      `run`.
    - `part`: which training, if the task has several (a held-out digit). `data_dir`: the folder with the data
      sets.

    Raises UsageError if the store does not have the training (the message gives the command that makes it),
    or if the code, the card or the data are no longer those of the result.
    """
    from ebbench.asked import seed_texts
    from ebbench.data.store import Store
    from ebbench.device import choose_device
    from ebbench.record import resultfiles
    from ebbench.record.schema import Result
    from ebbench.running import engine, spec, words
    from ebbench.running.request import Request, request_of
    from ebbench.running.settings import Settings

    words.check_types(task=task, model=model, budget=budget, protocol=protocol, settings=settings)
    chosen = words.checked_settings((settings or {}).items(), "settings")
    if isinstance(result, str | os.PathLike):
        result = resultfiles.read(result)
    if not isinstance(result, Result | None):
        raise UsageError(
            f"trained() cannot take {result!r}", where="result", expected="a result, or the path of its file"
        )
    if result is None:
        if not task or not model:
            raise UsageError(
                "trained() needs a result, or a task and a model",
                expected="trained(result) or trained(task=..., model=..., seed=...)",
            )
        request = Request(
            task=os.fspath(task),
            model=os.fspath(model),
            budget=budget or "cpu",
            protocol=protocol,
            set=chosen,
        )
        asked_seeds = words.parse_seeds(seed_texts(0 if seed is None else seed), where="seed")
        if len(asked_seeds) > 1:
            raise UsageError("trained() loads one seed", where="seed", expected="a single one, such as 0")
        run_seed = asked_seeds[0]
    else:
        if seed is not None or budget or protocol or chosen:
            raise UsageError(
                "trained() takes seed, budget, protocol and settings from the result",
                where="trained()",
                expected="trained(result) alone, or trained(task=..., model=..., seed=...)",
            )
        request = request_of(result, model=os.fspath(model))
        if task:
            request = dataclasses.replace(request, task=os.fspath(task))
        run_seed = result.seed
    made = Settings(
        device=choose_device(str(device)),
        # Nothing is written to it.
        results=Path(),
        store=Store(None if data_dir is None else Path(data_dir)),
        trainings=result.trainings if result is not None else None,
    )
    return engine.load(spec.resolve(request), run_seed, made, part)


def absolute_path(path: AnyPath, label: str) -> Path:
    """The absolute form of a caller's path, which stays valid if a plug-in changes the working directory."""
    from ebbench.storage.files import absolute

    return absolute(os.fspath(path), label)
