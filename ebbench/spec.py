"""What exactly is run: the resolved values of a run, and the hashes that identify it.

Two identities. The *training* hash covers all that determined the trained state: the data (files,
source, the task's data key), the model's code, the configuration, the budget, the seed. The *scoring*
hash adds the task's version and options, the protocol, the sampler and its knobs. So a new sampler,
protocol or task version scores a stored training again and never repeats it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ebbench import contract, loader
from ebbench.errors import ContractError, PluginError, UsageError, unknown
from ebbench.result import Result

BUDGETS = ("smoke", "cpu", "paper")
# In a budget's table of a card: the wall-clock limit of the training, not a knob of the model.
MINUTES = "minutes"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for, unresolved: one task, one model, any number of seeds."""

    task: str
    model: str
    budget: str = "cpu"
    protocol: str = ""
    sampler: str = ""
    set: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A request resolved against the plug-ins: every value that a run of it uses, but for the seed.

    `overrides` are the values that `--set` changed, by key, and part of a row's identity. `base` is the
    training that the model builds on. `sampler` is "" for a model without one, `knobs` the sampler's values
    under this protocol. `score` is the declared score where the task asks for one, else "".
    """

    task: loader.Plugin
    options: Any
    protocol: str
    model: loader.Plugin
    variant: str
    control: bool
    config: Any
    budget: str
    minutes: float | None
    sampler: str
    knobs: Mapping[str, Any]
    score: str
    overrides: Mapping[str, Any]
    base: Spec | None = None

    def training_key(self, task: contract.Task, seed: int) -> dict[str, Any]:
        """All that determines the trained state, as JSON values."""
        key: dict[str, Any] = {
            "data": {"source": task.source, "files": dict(task.data_hashes), "key": task.data_key()},
            "model": self.model.name,
            "code": self.model.code_hash,
            "config": dataclasses.asdict(self.config),
            "budget": self.budget,
            "minutes": self.minutes,
            "seed": seed,
        }
        if self.base is not None:
            key["base"] = self.base.training_key(task, seed)
        if evaluates(task):
            # What is taken along a training cannot be taken again from its end.
            taken = {"task": self.task.name, "version": task.version, "protocol": self.protocol}
            key["evaluations"] = taken | {"options": dataclasses.asdict(task.options)}
        return key

    def scoring_key(self, task: contract.Task, seed: int) -> dict[str, Any]:
        """All that determines the score, as JSON values."""
        key = {
            "training": content_hash(self.training_key(task, seed)),
            "task": self.task.name,
            "version": task.version,
            # As the task settled them: what "auto" stood for, not that it was asked for.
            "options": dataclasses.asdict(task.options),
            "protocol": self.protocol,
            "sampler": self.sampler,
            "knobs": dict(self.knobs),
        }
        return key | ({"score": self.score} if self.score else {})

    def changed_options(self) -> dict[str, Any]:
        """The task's options that differ from their defaults."""
        defaults = dataclasses.asdict(type(self.options)())
        return {k: v for k, v in dataclasses.asdict(self.options).items() if v != defaults[k]}

    def run_id(self, task: contract.Task, seed: int) -> str:
        """A file name that a person can read and that differs wherever the run does."""
        digest = content_hash(self.scoring_key(task, seed))[:10]
        # As the task settled them, such as stacks=4 -> stacks4; a file that was given is named by the task.
        # What may be "auto" is not said: the name must be the same whether it was asked for or came so.
        defaults = dataclasses.asdict(type(self.options)())
        said = [
            f"{k}{_as_toml(v)}"
            for k, v in sorted(dataclasses.asdict(task.options).items())
            if defaults[k] not in ("auto", v)
        ]
        parts = [self.variant, self.budget, self.protocol, self.sampler or self.score, task.source, *said]
        name = "-".join(part for part in [*parts, f"s{seed}", digest] if part)
        return re.sub(r"[^A-Za-z0-9._+=,@-]", "_", name)

    def command(self, seed: int) -> str:
        """The command that repeats this run, without what belongs to one machine."""
        model = f"{self.model.name}:{self.variant}" if self.variant else self.model.name
        words = ["ebbench run", f"--task {self.task.name}", f"--model {model}", f"--budget {self.budget}"]
        words += [f"--protocol {self.protocol}", f"--sampler {self.sampler}" if self.sampler else ""]
        set_values = self.changed_options() | dict(self.overrides)
        settings = [f"{key}={_as_toml(value)}" for key, value in sorted(set_values.items())]
        words += [f"--set {shlex.quote(setting)}" for setting in settings]
        return " ".join(word for word in [*words, f"--seeds {seed}"] if word)


def evaluates(task: contract.Task) -> bool:
    """Whether the task takes numbers along training."""
    return type(task).evaluate is not contract.Task.evaluate


def request_of(made: Result, *, model: str = "", sampler: str = "", protocol: str = "") -> Request:
    """The request that a result answers; `model` is the folder where its name is not enough."""
    old = made.sampler.name if made.sampler else ""
    settled = made.task.options | made.overrides
    if sampler and sampler != old:
        # The knobs of the other one say nothing of this.
        settled = {key: value for key, value in settled.items() if not key.startswith(f"{old}.")}
    name = model or made.model.name
    return Request(
        task=made.task.name,
        model=f"{name}:{made.model.variant}" if made.model.variant else name,
        budget=made.budget,
        protocol=protocol or made.task.protocol,
        sampler=sampler or old,
        set=settled,
    )


def resolve(request: Request) -> Spec:
    """Load the plug-ins and settle every value. Raises UsageError or PluginError, each with a cure."""
    task = loader.load("task", request.task)
    model_name, _, variant = _split_variant(request.model)
    model = loader.load("model", model_name)
    protocols = task.cls.protocols
    protocol = request.protocol or next(iter(protocols))
    if protocol not in protocols:
        raise unknown("protocol", protocol, protocols, where=f"task '{task.name}'")
    if request.budget not in BUDGETS:
        raise unknown("budget", request.budget, BUDGETS)
    card: loader.ModelCard = model.card
    if variant and variant not in card.variants:
        raise unknown("variant", variant, card.variants, where=f"model '{model.name}'")
    if task.cls.needs not in contract.capabilities(model.cls):
        raise ContractError(
            f"model '{model.name}' cannot do task '{task.name}'",
            where=f"class {model.cls.__name__} in {model.folder.name}/model.py",
            expected=f"the capability '{task.cls.needs}'",
            fix=f"define the method '{task.cls.needs}', or choose a task that the model can do: "
            "`ebbench list` shows which",
        )
    sampler = _choose_sampler(task, model, request.sampler)
    score = _declared_score(task, model, variant, protocol)
    defaults = contract.knobs(contract.samplers(model.cls)[sampler]) if sampler else {}
    chosen = _sort_settings(request.set, task, model, sampler, defaults)

    values = budget_values(model, request.budget, task.name, variant)
    minutes = values.pop(MINUTES, None)
    where = f"card.toml of '{model.name}'"
    config = _build(model.cls.Config, {}, values, where)
    config = _build(model.cls.Config, dataclasses.asdict(config), chosen["config"], "--set")
    knobs = dict(defaults) | check_knobs(card.samplers.get(sampler, {}).get(protocol, {}), defaults, where)
    knobs |= check_knobs(
        budget_knobs(model, request.budget, task.name, variant).get(sampler, {}), defaults, where
    )
    knobs |= check_knobs(chosen["knobs"], defaults, "--set")
    overrides = {key: getattr(config, key) for key in chosen["config"]}
    overrides |= {f"{sampler}.{key}": knobs[key] for key in chosen["knobs"]}
    return Spec(
        task=task,
        options=_build(task.cls.Options, {}, chosen["options"], "--set"),
        protocol=protocol,
        model=model,
        variant=variant,
        control=card.kind == "control" or bool(variant and card.variants[variant].control),
        config=config,
        budget=request.budget,
        minutes=None if minutes is None else float(minutes),
        sampler=sampler,
        knobs=knobs,
        score=score,
        overrides=overrides,
        base=_base(request, model, config),
    )


def _base(request: Request, model: loader.Plugin, config: Any) -> Spec | None:
    """The model that this one builds on, at the same task, protocol and budget, with its own settings."""
    if not model.cls.builds_on:
        return None
    name = getattr(config, model.cls.builds_on)
    # Its own settings and not the request's: they are the options of the task alone.
    task = loader.load("task", request.task)
    options = {f.name for f in dataclasses.fields(task.cls.Options)}
    settings = {key: value for key, value in request.set.items() if key in options}
    base = loader.load("model", _split_variant(name)[0])
    missing = [need for need in model.cls.base_needs if not hasattr(base.cls, need)]
    if missing:
        raise UsageError(
            f"'{name}' cannot be what '{model.name}' builds on: it has no {' and no '.join(missing)}",
            where=f"--set {model.cls.builds_on}={name}",
            expected="a model with " + ", ".join(model.cls.base_needs),
            fix="choose another, such as " + str(getattr(model.cls.Config(), model.cls.builds_on)),
        )
    return resolve(dataclasses.replace(request, model=name, sampler="", set=settings))


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` words -> values: TOML where it parses, else the bare string (`source=mnist`)."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"cannot read --set '{pair}'", expected="key=value", fix="for example: --set stacks=4"
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        if key in settings:
            raise UsageError(f"'{key}' is set twice", where="--set", expected="each key once")
        settings[key.strip()] = value
    return settings


def parse_seeds(text: str) -> list[int]:
    """`0-4`, `7` or `0,2,5-6` -> the seeds, in order and without repeats."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last) if dash else int(first)
        except ValueError:
            low, high = 1, 0
        if high < low or high - low > 10_000:
            raise UsageError(
                f"cannot read the seeds '{text}'", where="--seeds", expected="such as 0-4 or 0,2,7"
            )
        seeds += [seed for seed in range(low, high + 1) if seed not in seeds]
    return seeds


def content_hash(key: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(key, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _split_variant(model: str) -> tuple[str, str, str]:
    # The colon after a drive letter (C:\...) is part of a path.
    head, colon, tail = model.rpartition(":")
    if not colon or len(head) == 1 or "/" in tail or "\\" in tail:
        return model, "", ""
    return head, colon, tail


def _choose_sampler(task: loader.Plugin, model: loader.Plugin, asked: str) -> str:
    known = contract.samplers(model.cls)
    if asked and asked not in known:
        raise unknown("sampler", asked, known, where=f"model '{model.name}'")
    if asked or task.cls.needs != "sample":
        return asked
    # The one that the method `sample` is, under whatever name.
    plain = getattr(model.cls, "sample", None)
    return next((name for name, method in known.items() if method is plain), next(iter(known)))


def _declared_score(task: loader.Plugin, model: loader.Plugin, variant: str, protocol: str) -> str:
    """The score that the card declares: the variant's, the protocol's, the model's, else the energy."""
    if task.cls.needs != "energy":
        return ""
    card: loader.ModelCard = model.card
    known = contract.scores(model.cls)
    chosen = card.variants[variant].score if variant else ""
    chosen = chosen or card.scores.get(task.name, {}).get(protocol, "") or card.score
    if (chosen or "energy") not in known:
        raise ContractError(
            f"the declared score '{chosen}' is none that the model has"
            if chosen
            else "the model has no 'energy' and its card declares no other score",
            where=f"card.toml of '{model.name}'",
            expected="one of " + ", ".join(sorted(known)),
            fix='name it there: score = "..."',
        )
    return chosen or "energy"


def _sort_settings(
    settings: Mapping[str, Any],
    task: loader.Plugin,
    model: loader.Plugin,
    sampler: str,
    knobs: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Which setting is whose: a task option, a config field, or a knob (`sampler.knob`)."""
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


def budget_values(model: loader.Plugin, budget: str, task: str, variant: str = "") -> dict[str, Any]:
    """The values of a budget for a task, `minutes` among them, with what a variant lays over them.

    Raises PluginError if the model has no such budget.
    """
    merged = _budget(model, budget, task, variant)
    return {name: value for name, value in merged.items() if not isinstance(value, dict)}


def budget_knobs(
    model: loader.Plugin, budget: str, task: str, variant: str = ""
) -> dict[str, dict[str, Any]]:
    """The knobs that a budget sets for a task, by sampler; as `budget_values`."""
    merged = _budget(model, budget, task, variant)
    return {name: value for name, value in merged.items() if isinstance(value, dict)}


def _budget(model: loader.Plugin, budget: str, task: str, variant: str) -> dict[str, Any]:
    card: loader.ModelCard = model.card
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


def build_config(cls: type[Any], changes: Mapping[str, Any], where: str) -> Any:
    """The frozen dataclass `cls` with `changes` laid over its defaults, each checked against its type."""
    return _build(cls, {}, changes, where)


def _build(cls: type[Any], base: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> Any:
    """The frozen dataclass with `changes` laid over `base`, each value checked against its type."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values = dict(base)
    for key, value in changes.items():
        if key not in fields:
            raise unknown("key", key, fields, where=where)
        values[key] = _checked(key, value, typing.get_type_hints(cls)[key], where)
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        # A dataclass may check its own values in __post_init__.
        raise UsageError(f"a value is refused: {error}", where=where) from error


def _checked(key: str, value: Any, kind: Any, where: str) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    try:
        return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value, strict=True)
    except ValidationError as error:
        shown = getattr(kind, "__name__", None) or str(kind).replace("typing.", "")
        raise UsageError(
            f"'{key}' cannot be {value!r}: {error.errors()[0]['msg']}",
            where=where,
            expected=f"a value of type {shown}",
        ) from error


def check_knobs(values: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A sampler's knobs as given, each checked against the type of its default. Raises UsageError."""
    checked = {}
    for key, value in values.items():
        if key not in defaults:
            raise unknown("knob", key, defaults, where=where)
        checked[key] = _checked(key, value, type(defaults[key]), where)
    return checked


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return json.dumps(value, separators=(",", ":"))
    return str(value)
