"""Settle the Config and the knobs of a sampler, from a model's card, a variant and the user's changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ebbench.plugins import introspection, loader
from ebbench.plugins.budgets import budget_knobs, budget_values
from ebbench.plugins.configs import build_config, change_config, check_knobs


def settled(
    model: loader.Plugin,
    task: str,
    *,
    budget: str,
    variant: str = "",
    protocol: str = "",
    sampler: str = "",
    config: Mapping[str, Any] | None = None,
    knobs: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
    """The Config, and the values of the sampler's knobs, as a run of `model` on `task` uses them.

    Later sources override earlier ones: the defaults of the class, the card's knobs for the protocol, the
    card's budget with the variant's values, and last the user's changes in `config` and `knobs`. A card
    without the budget is an error only if `config` is empty. Raises UsageError and PluginError.
    """
    where = f"card.toml of '{model.name}'"
    changed = bool(config)
    made = build_config(model.cls.Config, budget_values(model, budget, task, variant, changed=changed), where)
    made = change_config(made, config or {}, "--set")
    if not sampler:
        return made, {}
    method = introspection.samplers(model.cls)[sampler]
    values = introspection.knobs(method)
    values |= check_knobs(model.card.samplers.get(sampler, {}).get(protocol, {}), method, where)
    of_budget = budget_knobs(model, budget, task, variant, changed=changed)
    values |= check_knobs(of_budget.get(sampler, {}), method, where)
    values |= check_knobs(knobs or {}, method, "--set")
    return made, values
