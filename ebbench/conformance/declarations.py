"""Check what a plug-in declares about itself: its card, its README, its Config, its metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ebbench import contract
from ebbench.errors import ContractError, unknown
from ebbench.plugins import configs, introspection, loader
from ebbench.plugins.budgets import MINUTES


def card(plugin: loader.Plugin) -> str:
    """Check that the card can be read."""
    return f"{plugin.card.name}: {plugin.card.title}"


def imports(plugin: loader.Plugin) -> str:
    """Check that the code imports, and that its Config or Options keeps the contract."""
    return str(plugin.cls.__name__)


def readme(plugin: loader.Plugin) -> str:
    """Check that there is a README.md that is not empty."""
    path = plugin.folder / "README.md"
    if not path.is_file() or not path.read_text(encoding="utf-8").strip():
        raise ContractError(
            "there is no README.md", where=plugin.folder.name, expected="a page for the reader"
        )
    return "there"


def config(plugin: loader.Plugin) -> str:
    """Check that every field of Config has a docstring, and that budgets and variants set valid values."""
    cls = plugin.cls.Config
    where = f"{plugin.folder.name}/model.py, {plugin.cls.__name__}.Config"
    fields = dataclasses.fields(cls)
    missing = [f.name for f in fields if f.name not in introspection.field_docs(cls)]
    if missing:
        raise ContractError(
            "no docstring under Config." + ", Config.".join(missing),
            where=where,
            expected="a string under each field: its unit, its paper, where the default comes from",
        )
    _budgets(plugin, plugin.card.budgets, "")
    for name, variant in plugin.card.variants.items():
        _check_values(cls, variant.set, f"[variants.{name}] of card.toml")
        _budgets(plugin, variant.budgets, f"variants.{name}.")
    return f"{len(fields)} knobs, each with a default and a docstring"


def _budgets(plugin: loader.Plugin, budgets: Mapping[str, Mapping[str, Any]], inside: str) -> None:
    for budget, tables in budgets.items():
        for table, values in tables.items():
            where = f"[{inside}budgets.{budget}.{table}] of card.toml"
            samplers = introspection.samplers(plugin.cls)
            for name, knobs in values.items():
                if isinstance(knobs, dict):
                    if name not in samplers:
                        raise unknown("sampler", name, samplers, where=where)
                    configs.check_knobs(knobs, samplers[name], where)
            changes = {k: v for k, v in values.items() if k != MINUTES and not isinstance(v, dict)}
            _check_values(plugin.cls.Config, changes, where)


def _check_values(cls: type[Any], values: Mapping[str, Any], where: str) -> None:
    configs.build_config(cls, values, where)
    for name, value in values.items():
        # This covers all lengths of loops, such as training_steps and pretrain_epochs.
        if name.endswith(("steps", "epochs")) and isinstance(value, int | float) and value < 0:
            raise ContractError(
                f"{name} = {value}: {name} must be at least 0",
                where=where,
                expected="a number of steps or epochs; 0 trains nothing",
                fix=f"correct '{name}' in card.toml",
            )


def capabilities(plugin: loader.Plugin) -> str:
    """Check that the model offers something to score, and that the card names only what the model has."""
    able = introspection.capabilities(plugin.cls)
    if not able:
        raise ContractError(
            "the model offers nothing that a task could score",
            where=f"{plugin.folder.name}/model.py",
            expected="one of the methods " + ", ".join(contract.CAPABILITIES),
        )
    for name in plugin.card.samplers:
        if name not in introspection.samplers(plugin.cls):
            raise ContractError(
                f"the card names a sampler '{name}' that the model does not have", where="card.toml"
            )
    known = introspection.scores(plugin.cls)
    declared = plugin.card.score or "energy"
    # A model with only a bound may be meant for tasks that ask for bounds. It needs no declared score.
    if "energy" in able and declared not in known and known.keys() != {contract.BOUND}:
        raise ContractError(
            "the card declares no score that the model has",
            where="card.toml",
            expected="one of " + ", ".join(sorted(known)),
            fix='declare it in card.toml: score = "..."',
        )
    scores = [score for protocols in plugin.card.scores.values() for score in protocols.values()]
    scores += [variant.score for variant in plugin.card.variants.values()]
    for name in filter(None, scores):
        if name not in known:
            raise unknown("score", name, known, where="card.toml")
    named = ["samplers " + "/".join(introspection.samplers(plugin.cls))] if "sample" in able else []
    return ", ".join([*able, *named])


def task(plugin: loader.Plugin) -> str:
    """Check what a task declares: its version, protocols, metrics and published rows."""
    cls = plugin.cls
    where = f"{plugin.folder.name}/task.py"
    for name in ("version", "protocols", "needs", "metrics"):
        if not hasattr(cls, name):
            raise ContractError(f"the task does not define '{name}'", where=where)
    if not any(metric.primary for metric in cls.metrics):
        raise ContractError("no metric is primary", where=where, expected="at least one metric to rank by")
    if cls.needs not in contract.CAPABILITIES:
        raise ContractError(
            f"needs '{cls.needs}'", where=where, expected="one of " + ", ".join(contract.CAPABILITIES)
        )
    known = {metric.name for metric in cls.metrics}
    for row in cls.published:
        if not set(row.metrics) <= known:
            raise ContractError(
                f"published row '{row.label}' has metrics {set(row.metrics) - known}", where=where
            )
        if row.protocol and row.protocol not in cls.protocols:
            raise ContractError(
                f"published row '{row.label}' is of protocol '{row.protocol}'",
                where=where,
                expected="one of " + ", ".join(cls.protocols),
            )
    counts = {"metric": cls.metrics, "protocol": cls.protocols, "published row": cls.published}
    return ", ".join(f"{len(found)} {what}{'s' * (len(found) != 1)}" for what, found in counts.items())
