"""None"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ebbench import contract
from ebbench.conformance.declarations import (
    capabilities_check,
    card,
    config,
    imports,
    readme,
    task_declarations,
)
from ebbench.conformance.reports import Report, reported
from ebbench.conformance.trials import base_of, budget_for, check_on
from ebbench.plugins import loader


def check(
    plugin: loader.Plugin,
    data_specs: Mapping[str, contract.DataSpec],
    needs: Mapping[str, str] | None = None,
) -> Iterator[Report]:
    """Run every check on a plug-in, one report each; the first failure of a load ends the suite.

    `data_specs` are the shapes to try a model on, and `needs` what is asked of it there, by task name:
    its samplers, which may be long chains, are tried where that is a sample, if it is so anywhere.
    """
    of_kind = [config, capabilities_check] if plugin.kind == "model" else [task_declarations]
    checks: list[Callable[[loader.Plugin], str]] = [card, imports, readme, *of_kind]
    for function in checks:
        report = reported(function.__name__.strip("_").replace("_", " "), partial(function, plugin))
        yield report
        if not report.passed and function in (card, imports):
            return
    if plugin.kind == "model":
        budgets = {name: budget_for(plugin, name) for name in data_specs if _base_has_budget(plugin, name)}
        tried = {name: budget for name, budget in budgets.items() if budget is not None}
        sampled = {name for name in tried if (needs or {}).get(name, "sample") == "sample"}
        for task_name, budget in tried.items():
            samples = task_name in sampled or not sampled
            yield from check_on(plugin, task_name, data_specs[task_name], budget, samples=samples)


def _base_has_budget(plugin: loader.Plugin, task_name: str) -> bool:
    if not plugin.cls.builds_on:
        return True
    base = base_of(plugin, plugin.cls.Config())
    return base is None or budget_for(base, task_name) is not None
