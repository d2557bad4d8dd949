"""Check the settings of a result against its bundle's card and source, without running the source.

The values of a run come from the defaults of the class, then from the card's budget and variant, then from
--set. Defaults are read from the source if they are literals. The hashes and the run id follow from the
settings. Only `verify --rerun` checks a default that the source computes.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import keyword
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbench import contract
from ebbench.plugins import loader
from ebbench.plugins.cards import MINUTES, ModelCard
from ebbench.record import schema
from ebbench.running.identity import identify
from ebbench.running.spec import Spec
from ebbench.storage.hashing import content_hash
from ebbench.submissions.bundles import Bundle
from ebbench.submissions.checking import Check
from ebbench.submissions.rerun import code_of, unpacked

# Valid names of samplers.
SAMPLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")
# Marks a default that the source computes.
_COMPUTED = object()


def settings(claimed: schema.Result, bundle: Bundle) -> Iterator[Check]:
    """Check the configuration, knobs and budget of a result against the card and the source."""
    file = f"results/{claimed.run_id}.json"
    source = _read(code_of(bundle))
    merged = _budget(bundle.card, claimed)
    if merged is None:
        has = ", ".join(sorted(bundle.card.budgets)) or "none"
        yield Check(file, "budget", claimed.budget, f"one that card.toml has for this task: {has}")
        return
    values = {k: v for k, v in merged.items() if k != MINUTES and not isinstance(v, dict)}
    changed = {k: v for k, v in claimed.overrides.items() if "." not in k}
    if not source.changes_itself:
        yield from _compared(file, "config", claimed.config, source.config, [values, changed], source)
    sampler = claimed.sampler
    dotted = {k: v for k, v in claimed.overrides.items() if "." in k}
    if sampler is None:
        yield Check(file, "overrides", _text(dotted), _text({}), "there is no sampler to change")
        return
    plain = SAMPLER.fullmatch(sampler.name) and sampler.name in source.texts | {"generator"}
    expected = sampler.name if plain else "one that the source names"
    yield Check(file, "sampler.name", sampler.name, expected, '@sampler("NAME") names one')
    card = bundle.card.samplers.get(sampler.name, {}).get(claimed.task.protocol, {})
    knobs = merged.get(sampler.name, {})
    prefix = f"{sampler.name}."
    foreign = {k: v for k, v in dotted.items() if not k.startswith(prefix)}
    yield Check(file, "overrides", _text(foreign), _text({}), f"the knobs of {sampler.name} alone")
    changed = {k.removeprefix(prefix): v for k, v in dotted.items() if k not in foreign}
    layers = [card, knobs if isinstance(knobs, dict) else {}, changed]
    yield from _compared(file, "sampler.knobs", sampler.knobs, source.knobs.get(sampler.name), layers, source)


def hashes(claimed: schema.Result, bundle: Bundle, task: contract.Task) -> Iterator[Check]:
    """Check the run id and the hashes of a run against its settings. `task` has the options of the result.

    For a run that builds on another model, the hashes cannot be checked: the result does not contain the
    settings of that model. Then the only check is that the source can build on a model.
    """
    file, again = f"results/{claimed.run_id}.json", "submit the unchanged result of `ebbench run`"
    if claimed.training.base is not None:
        builds = any(b"builds_on" in text for text in code_of(bundle).values())
        base = claimed.training.base.name
        yield Check(
            file, "training.base", base, base if builds else "none: the source builds on no model", again
        )
    odd = [name for name in claimed.config if not name.isidentifier() or keyword.iskeyword(name)]
    if odd or claimed.training.base is not None:
        if odd:
            yield Check(file, "config", odd[0], "names of fields", again)
        return
    yield Check(
        file, "engine", str(claimed.engine), str(contract.ENGINE), "run it with this version of ebbench"
    )
    names = [(name, Any, dataclasses.field(default=None)) for name in claimed.config]
    with tempfile.TemporaryDirectory() as folder:
        spec = Spec(
            task=loader.load("task", claimed.task.name),
            options=task.options,
            protocol=claimed.task.protocol,
            model=loader.Plugin("model", unpacked(bundle, Path(folder))),
            variant=claimed.model.variant,
            control=claimed.model.kind == "control",
            config=dataclasses.make_dataclass("Config", names)(**claimed.config),
            budget=claimed.budget,
            sampler=claimed.sampler.name if claimed.sampler else "",
            knobs=claimed.sampler.knobs if claimed.sampler else {},
            score=claimed.score,
            overrides=claimed.overrides,
        )
        whole = identify(spec, task, claimed.seed)
        parts = {name: identify(spec, part, claimed.seed) for name, part in task.parts(claimed.seed).items()}
    yield Check(file, "run_id", claimed.run_id, whole.run_id, again)
    # A result with one part has that part's hashes (running/assembly.py).
    alone = next(iter(parts.values())) if len(parts) == 1 else None
    scoring = alone.scoring if alone else whole.scoring
    yield Check(file, "scoring.hash", claimed.scoring.hash, scoring, again)
    if alone:
        yield Check(file, "training.hash", claimed.training.hash, alone.training, again)
    else:
        trained = content_hash({name: own.training for name, own in parts.items()})
        yield Check(file, "training.hash", claimed.training.hash, trained, again)
    for part in claimed.parts:
        if part.name in parts:
            where, own = f"parts.{part.name}", parts[part.name]
            yield Check(file, f"{where}.training.hash", part.training.hash, own.training, again)
            yield Check(file, f"{where}.scoring.hash", part.scoring.hash, own.scoring, again)


def _budget(card: ModelCard, claimed: schema.Result) -> dict[str, Any] | None:
    """The values of the card's budget and variant, including tables of knobs.

    None for a budget that the card lacks, unless settings were changed (as in `plugins.budgets`).
    """
    tables, task = card.budgets.get(claimed.budget, {}), claimed.task.name
    known = "default" in tables or task in tables
    changed = any("." not in name for name in claimed.overrides)
    if not known and not changed and claimed.config:
        return None
    values = tables.get("default", {}) | tables.get(task, {})
    if variant := card.variants.get(claimed.model.variant):
        own = variant.budgets.get(claimed.budget, {})
        values = values | variant.set | own.get("default", {}) | own.get(task, {})
    return values


def _compared(
    file: str,
    what: str,
    claimed: Mapping[str, Any],
    defaults: Mapping[str, Any] | None,
    layers: Iterable[Mapping[str, Any]],
    source: _Source,
) -> Iterator[Check]:
    """Compare each claimed value with the last layer that sets it. The names must be those of the source."""
    expected = dict(defaults or {})
    for layer in layers:
        expected |= layer
    names = sorted(claimed) if defaults is None else sorted(defaults)
    said, there = (", ".join(found) or "none" for found in (sorted(claimed), names))
    yield Check(file, what, said, there, "use the names in the source")
    for name, value in expected.items():
        if value is _COMPUTED:
            continue
        found = claimed.get(name)
        same = name in claimed and any(_same(found, one) for one in source.meanings(value))
        shown = _text(found) if name in claimed else "missing"
        cure = "submit the card of the run, and list every change under `overrides`"
        yield Check(file, f"{what}.{name}", shown, shown if same else _text(value), cure)


@dataclass(frozen=True)
class _Source:
    """What can be read from a model's code without running it.

    - `config`: the fields of the Config with their defaults. None if the code is not explicit: it has no
      Config or several, or a derived one, or one with `__post_init__`.
    - `knobs`: the knobs of each sampler with their defaults. None for a sampler that two classes define.
    - `texts`: all string constants.
    - `members`: the values assigned in classes, by name, such as the members of an Enum.
    - `changes_itself`: whether the Config sets fields from others after it is created.
    """

    config: Mapping[str, Any] | None
    knobs: Mapping[str, Mapping[str, Any] | None]
    texts: frozenset[str]
    members: Mapping[str, tuple[Any, ...]]
    changes_itself: bool

    def meanings(self, value: Any) -> list[Any]:
        """The values that a card's value may have in a result: a name may be an Enum member, "none" None."""
        found = [value]
        if isinstance(value, str):
            found += self.members.get(value, ())
            found += [None] if value.lower() in ("none", "null") else []
        return found


def _read(code: Mapping[str, bytes]) -> _Source:
    trees = []
    for name, text in sorted(code.items()):
        if name.endswith(".py"):
            try:
                trees.append(ast.parse(text))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                # Invalid Python cannot run, as a rerun will report, and nothing can be read from it.
                continue
    nodes = [node for tree in trees for node in ast.walk(tree)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    held = [one for outer in classes for one in outer.body if isinstance(one, ast.ClassDef)]
    inner = [one for one in held if one.name == "Config"]
    members: dict[str, tuple[Any, ...]] = {}
    for one in classes:
        for line in one.body:
            if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant):
                for target in line.targets:
                    if isinstance(target, ast.Name):
                        members[target.id] = (*members.get(target.id, ()), line.value.value)
    texts = frozenset(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))
    changed = any("__setattr__" in ast.unparse(one) for one in inner)
    return _Source(_fields(inner), _knobs(classes), texts, members, changed)


def _fields(found: list[ast.ClassDef]) -> dict[str, Any] | None:
    """The default of each field of the single Config, by name; None if the Config is not explicit."""
    if len(found) != 1 or found[0].bases:
        return None
    fields: dict[str, Any] = {}
    for line in found[0].body:
        if isinstance(line, ast.FunctionDef) and line.name == "__post_init__":
            return None
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            if "ClassVar" in ast.unparse(line.annotation) or "InitVar" in ast.unparse(line.annotation):
                continue
            fields[line.target.id] = _literal(line.value)
    return fields


def _knobs(classes: list[ast.ClassDef]) -> dict[str, dict[str, Any] | None]:
    """The knobs of each sampler with their defaults.

    Samplers are the methods with `@sampler`, and those called `sample`. Knobs are their keyword-only
    arguments.
    """
    found: dict[str, dict[str, Any] | None] = {}
    for one in classes:
        for method in one.body:
            if not isinstance(method, ast.FunctionDef):
                continue
            name = "generator" if method.name == "sample" else ""
            for mark in method.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func).split(".")[-1] == "sampler":
                    name = str(_literal(mark.args[0])) if mark.args else ""
            if name:
                own = zip(method.args.kwonlyargs, method.args.kw_defaults, strict=True)
                knobs = {knob.arg: _literal(default) for knob, default in own}
                # If two samplers have the same name, the classes decide which one runs.
                found[name] = None if name in found else knobs
    return found


def _literal(node: ast.expr | None) -> Any:
    try:
        value = ast.literal_eval(node) if node is not None else _COMPUTED
        json.dumps(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _COMPUTED
    return value


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal in JSON: a tuple equals a list, 1 equals 1.0, and True differs from 1."""
    if isinstance(one, bool) != isinstance(other, bool):
        return False
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _text(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        # The value is a date or a time from a card's TOML.
        return str(value)
