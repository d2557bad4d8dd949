"""Find what the budgets of a model's card set for a task."""

from __future__ import annotations

import dataclasses
from typing import Any

from ebbench.errors import PluginError
from ebbench.plugins import cards, loader
from ebbench.plugins.cards import MINUTES as MINUTES

BUDGETS = ("smoke", "cpu", "paper")


def budget_values(model: loader.Plugin, budget: str, task: str, variant: str = "") -> dict[str, Any]:
    """The values of Config that a budget sets for a task. The values of a variant override them.

    Raises PluginError if the model has no such budget.
    """
    merged = _budget(model, budget, task, variant)
    return {k: v for k, v in merged.items() if k != MINUTES and not isinstance(v, dict)}


def budget_knobs(
    model: loader.Plugin, budget: str, task: str, variant: str = ""
) -> dict[str, dict[str, Any]]:
    """The knobs that a budget sets for a task, by sampler. Variants and errors are as in `budget_values`."""
    merged = _budget(model, budget, task, variant)
    return {name: value for name, value in merged.items() if isinstance(value, dict)}


def budget_minutes(model: loader.Plugin, budget: str, task: str, variant: str = "") -> float | None:
    """The minutes that the training took on the machine that the card's `measured_on` names, or None.

    They are information only and limit nothing. Variants and errors are as in `budget_values`.
    """
    minutes = _budget(model, budget, task, variant).get(MINUTES)
    return None if minutes is None else float(minutes)


def _budget(model: loader.Plugin, budget: str, task: str, variant: str) -> dict[str, Any]:
    card: cards.ModelCard = model.card
    tables = card.budgets.get(budget, {})
    if "default" not in tables and task not in tables and dataclasses.fields(model.cls.Config):
        raise _no_budget(model, budget, task)
    values = tables.get("default", {}) | tables.get(task, {})
    if variant:
        own = card.variants[variant].budgets.get(budget, {})
        values = values | card.variants[variant].set | own.get("default", {}) | own.get(task, {})
    return values


def _no_budget(model: loader.Plugin, budget: str, task: str) -> PluginError:
    return PluginError(
        f"model '{model.name}' has no budget '{budget}' for task '{task}'",
        where=f"{model.folder.name}/card.toml",
        expected=f"a table [budgets.{budget}.{task}] or [budgets.{budget}.default]",
        fix="add it (it may be empty: the Config's defaults then hold), or choose another --budget",
    )
