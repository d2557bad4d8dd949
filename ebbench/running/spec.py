"""Resolves a request: the plug-ins, and every value that a run uses, except the seed."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ebbench.errors import ContractError, PluginError, UsageError, unknown
from ebbench.plugins import cards, introspection, loader
from ebbench.plugins.budgets import BUDGETS
from ebbench.plugins.configs import build_config
from ebbench.plugins.settled import settled
from ebbench.record.commands import run_words
from ebbench.running.request import Request
from ebbench.running.words import split_variant


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A request resolved against the plug-ins: every value that its runs use, except the seed.

    `overrides` are the values changed by `--set`, by key; they are part of a row's identity. `base` is the
    training that the model builds on. `sampler` is "" for a model without one, `knobs` are the sampler's
    values under this protocol. `score` is the declared score if the task needs one, else "".
    """

    task: loader.Plugin
    options: Any
    protocol: str
    model: loader.Plugin
    variant: str
    control: bool
    config: Any
    budget: str
    sampler: str
    knobs: Mapping[str, Any]
    score: str
    overrides: Mapping[str, Any]
    base: Spec | None = None

    def changed_options(self) -> dict[str, Any]:
        """The task's options that differ from their defaults."""
        defaults = dataclasses.asdict(type(self.options)())
        return {k: v for k, v in dataclasses.asdict(self.options).items() if v != defaults[k]}

    def command(self, seed: int) -> str:
        """The command that repeats this run, without machine-specific options."""
        words = run_words(
            task=self.task.name,
            model=f"{self.model.name}:{self.variant}" if self.variant else self.model.name,
            budget=self.budget,
            protocol=self.protocol,
            sampler=self.sampler,
            settings=dict(sorted((self.changed_options() | dict(self.overrides)).items())),
            seeds=str(seed),
        )
        return shlex.join(["ebbench", *words])


Load = Callable[[loader.Kind, str], loader.Plugin]


def resolve(request: Request, load: Load = loader.load) -> Spec:
    """Load the plug-ins and determine every value. Raises UsageError or PluginError, with a fix.

    To resolve many requests, pass a `load` that loads each plug-in once.
    """
    task = load("task", request.task)
    model_name, _, variant = split_variant(request.model)
    model = load("model", model_name)
    check_declared(task)
    protocols = task.cls.protocols
    protocol = request.protocol or next(iter(protocols))
    if protocol not in protocols:
        raise unknown("protocol", protocol, protocols, where=f"task '{task.name}'")
    if request.budget not in BUDGETS:
        raise unknown("budget", request.budget, BUDGETS)
    card: cards.ModelCard = model.card
    if variant and variant not in card.variants:
        raise unknown("variant", variant, card.variants, where=f"model '{model.name}'")
    if task.cls.needs not in introspection.capabilities(model.cls):
        raise ContractError(
            f"model '{model.name}' cannot do task '{task.name}'",
            where=f"class {model.cls.__name__} in {model.folder.name}/model.py",
            expected=f"the capability '{task.cls.needs}'",
            fix=f"define the method '{task.cls.needs}', or choose a task that the model can do: "
            "`ebbench list` shows which",
        )
    sampler = _choose_sampler(task, model, request.sampler)
    score = _declared_score(task, model, variant, protocol)
    defaults = introspection.knobs(introspection.samplers(model.cls)[sampler]) if sampler else {}
    chosen = _sort_settings(request.set, task, model, sampler, defaults)

    config, knobs = settled(
        model,
        task.name,
        budget=request.budget,
        variant=variant,
        protocol=protocol,
        sampler=sampler,
        config=chosen["config"],
        knobs=chosen["knobs"],
    )
    overrides = {key: getattr(config, key) for key in chosen["config"]}
    overrides |= {f"{sampler}.{key}": knobs[key] for key in chosen["knobs"]}
    return Spec(
        task=task,
        options=build_config(task.cls.Options, chosen["options"], "--set"),
        protocol=protocol,
        model=model,
        variant=variant,
        control=card.kind == "control" or bool(variant and card.variants[variant].control),
        config=config,
        budget=request.budget,
        sampler=sampler,
        knobs=knobs,
        score=score,
        overrides=overrides,
        base=_base(request, task, model, config, load),
    )


def check_declared(task: loader.Plugin) -> None:
    """Raise ContractError if a task's class lacks what every run needs."""
    missing = [name for name in ("version", "protocols", "needs", "metrics") if not hasattr(task.cls, name)]
    if missing or not isinstance(task.cls.protocols, Mapping) or not task.cls.protocols:
        raise ContractError(
            f"task '{task.name}' does not define {' and '.join(missing) or 'protocols as a mapping'}",
            where=f"class {task.cls.__name__} in {task.folder.name}/task.py",
            expected="version, protocols (a name for each, the default first), needs and metrics",
            fix=f"add it to the class; `ebbench test {task.folder.name}` checks the rest",
        )


def _base(
    request: Request, task: loader.Plugin, model: loader.Plugin, config: Any, load: Load
) -> Spec | None:
    """The model that this one builds on, with the same task, protocol and budget and its own settings."""
    if not model.cls.builds_on:
        return None
    name = getattr(config, model.cls.builds_on)
    # Of the request's settings only the task's options apply to the base.
    options = {f.name for f in dataclasses.fields(task.cls.Options)}
    settings = {key: value for key, value in request.set.items() if key in options}
    base = load("model", split_variant(name)[0])
    missing = [need for need in model.cls.base_needs if not hasattr(base.cls, need)]
    if missing:
        raise UsageError(
            f"'{model.name}' cannot build on '{name}', which has no {' and no '.join(missing)}",
            where=f"--set {model.cls.builds_on}={name}",
            expected="a model with " + ", ".join(model.cls.base_needs),
            fix="choose another, such as " + str(getattr(model.cls.Config(), model.cls.builds_on)),
        )
    return resolve(dataclasses.replace(request, model=name, sampler="", set=settings), load)


def _choose_sampler(task: loader.Plugin, model: loader.Plugin, asked: str) -> str:
    known = introspection.samplers(model.cls)
    if asked and asked not in known:
        raise unknown("sampler", asked, known, where=f"model '{model.name}'")
    if task.cls.needs != "sample":
        if asked:
            raise UsageError(
                f"task '{task.name}' does not use samples, so sampler '{asked}' would change nothing",
                where="--sampler",
                expected="no sampler",
                fix=f"leave it out; the task asks for '{task.cls.needs}'",
            )
        return ""
    if asked:
        return asked
    # The sampler that the method `sample` implements, whatever its name.
    plain = getattr(model.cls, "sample", None)
    return next((name for name, method in known.items() if method is plain), next(iter(known)))


def _declared_score(task: loader.Plugin, model: loader.Plugin, variant: str, protocol: str) -> str:
    """The score declared by the card: the variant's, else the protocol's, else the model's, else energy."""
    if task.cls.needs != "energy":
        return ""
    card: cards.ModelCard = model.card
    known = introspection.scores(model.cls)
    chosen = cards.declared_score(card, task.name, protocol, variant)
    if (chosen or "energy") not in known:
        raise ContractError(
            f"the model does not have the declared score '{chosen}'"
            if chosen
            else "the model has no 'energy' and its card declares no other score",
            where=f"card.toml of '{model.name}'",
            expected="one of " + ", ".join(sorted(known)),
            fix='declare it in card.toml: score = "..."',
        )
    return chosen or "energy"


def _sort_settings(
    settings: Mapping[str, Any],
    task: loader.Plugin,
    model: loader.Plugin,
    sampler: str,
    knobs: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Sort settings into task options, config fields and knobs (`sampler.knob`)."""
    options = {f.name for f in dataclasses.fields(task.cls.Options)}
    config = {f.name for f in dataclasses.fields(model.cls.Config)}
    dotted = {f"{sampler}.{name}": name for name in knobs}
    sorted_: dict[str, dict[str, Any]] = {"options": {}, "config": {}, "knobs": {}}
    for key, value in settings.items():
        if key in options & config:
            raise PluginError(
                f"'{key}' is both an option of task '{task.name}' and a knob of model '{model.name}'",
                where=f"{model.folder.name}/model.py",
                fix=f"rename '{key}' in the model's Config",
            )
        if key in options:
            sorted_["options"][key] = value
        elif key in config:
            sorted_["config"][key] = value
        elif key in dotted:
            sorted_["knobs"][dotted[key]] = value
        else:
            where = f"--set, for task '{task.name}' and model '{model.name}'"
            raise unknown("key", key, options | config | set(dotted), where=where)
    return sorted_
