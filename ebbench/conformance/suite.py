"""The contract suite: run every check on one plug-in, in the order that helps its author most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ebbench.conformance import beside, declarations, tasktrials, trials
from ebbench.conformance.limit import LIMIT
from ebbench.conformance.reports import Report, reported
from ebbench.conformance.shapes import Shapes, shapes_for
from ebbench.plugins import loader


def check(
    plugin: loader.Plugin, shapes: Shapes | None = None, *, task: str = "", limit: float = LIMIT
) -> Iterator[Report]:
    """Run every check on a plug-in, and yield one report for each. If it cannot be loaded, the suite ends.

    A model is tried on `shapes`. The default is the shapes of the installed tasks, or of `task` alone. Its
    samplers may be long chains. They are tried only for tasks that ask for samples, or for all tasks if none
    does. A check that takes longer than `limit` seconds has failed. Raises PluginError if `task` does not
    load.
    """
    of_kind = [declarations.config, declarations.capabilities] if plugin.kind == "model" else []
    of_kind += [declarations.task] if plugin.kind == "task" else []
    checks: list[Callable[[loader.Plugin], str]] = [
        declarations.card,
        declarations.imports,
        declarations.readme,
        *of_kind,
    ]
    for function in checks:
        report = reported(plugin, function.__name__, partial(function, plugin), limit)
        yield report
        if not report.passed and function in (declarations.card, declarations.imports):
            return
    if plugin.kind == "model":
        shapes = shapes_for(plugin, task) if shapes is None else shapes
        for name, reason in shapes.left_out.items():
            yield Report(f"task {name}", True, f"left out: {reason}", remark=True)
        yield from _tried(plugin, shapes, limit)
    else:
        yield from tasktrials.tried(plugin, limit)
    report = reported(plugin, "files", partial(beside.uncovered, plugin), limit)
    if report.text:
        yield Report(report.name, report.passed, report.text, remark=report.passed)


def _tried(plugin: loader.Plugin, shapes: Shapes, limit: float) -> Iterator[Report]:
    budgets = {
        name: trials.budget_for(plugin, name) for name in shapes.specs if _base_has_budget(plugin, name)
    }
    tried = {name: budget for name, budget in budgets.items() if budget is not None}
    sampled = {name for name in tried if shapes.needs.get(name, "sample") == "sample"}
    for name, budget in tried.items():
        samples = name in sampled or not sampled
        yield from trials.tried(plugin, name, shapes.specs[name], budget, samples=samples, limit=limit)
    if not tried:
        text = "on no task: the card has no budget for a known task that the model can do"
        yield Report("tried", True, text, remark=True)


def _base_has_budget(plugin: loader.Plugin, task_name: str) -> bool:
    if not plugin.cls.builds_on:
        return True
    base = trials.base_of(plugin, plugin.cls.Config())
    return base is None or trials.budget_for(base, task_name) is not None
