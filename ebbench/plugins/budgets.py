"""Find what the budgets of a model's card set for a task."""

from __future__ import annotations

import dataclasses
from typing import Any

from ebbench.errors import PluginError
from ebbench.plugins import cards, loader
from ebbench.plugins.cards import MINUTES as MINUTES

BUDGETS = ("smoke", "cpu", "paper")


def budget_values(
    model: loader.Plugin, budget: str, task: str, variant: str = "", *, changed: bool = False
) -> dict[str, Any]:
    """The values of Config that a budget sets for a task. The values of a variant override them.

    Raises PluginError if the model has no such budget, unless the user has `changed` settings. Then the
    defaults of Config hold for the others.
    """
    merged = _budget(model, budget, task, variant, changed)
    return {k: v for k, v in merged.items() if k != MINUTES and not isinstance(v, dict)}


def budget_knobs(
    model: loader.Plugin, budget: str, task: str, variant: str = "", *, changed: bool = False
) -> dict[str, dict[str, Any]]:
    """The knobs that a budget sets for a task, by sampler. The rest is as in `budget_values`."""
    merged = _budget(model, budget, task, variant, changed)
    return {name: value for name, value in merged.items() if isinstance(value, dict)}


def budget_minutes(
    model: loader.Plugin, budget: str, task: str, variant: str = "", *, changed: bool = False
) -> float | None:
    """The minutes that the training took on the machine that the card's `measured_on` names, or None.

    They are information only and limit nothing. The rest is as in `budget_values`.
    """
    minutes = _budget(model, budget, task, variant, changed).get(MINUTES)
    return None if minutes is None else float(minutes)


def _budget(model: loader.Plugin, budget: str, task: str, variant: str, changed: bool) -> dict[str, Any]:
    card: cards.ModelCard = model.card
    tables = card.budgets.get(budget, {})
    known = "default" in tables or task in tables
    if not known and not changed and dataclasses.fields(model.cls.Config):
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
        fix="add it (it may be empty: the Config's defaults then hold), choose another --budget, or give the "
        f"settings: `ebbench show {model.name}` lists them, and --set {_first(model)}=... changes one",
    )


def _first(model: loader.Plugin) -> str:
    """The setting that a user without a budget wants first: the length of the training, if there is one."""
    names = [field.name for field in dataclasses.fields(model.cls.Config)]
    return next((name for name in names if name in ("steps", "epochs")), names[0])
