"""Whether the checkout would make a result again: with the same code and the same settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ebbench import contract
from ebbench.errors import EbbenchError
from ebbench.plugins import loader
from ebbench.plugins.budgets import BUDGETS
from ebbench.plugins.configs import plain, plain_value
from ebbench.plugins.settled import settled
from ebbench.record.schema import BasePart, Result

# "older code": today's run would be a different run. "not here": unknown, since the plug-in is not here.
State = Literal["current", "older code", "not here"]


class Today:
    """The plug-ins of the checkout, each loaded once; `loaded` are those already loaded elsewhere."""

    def __init__(self, loaded: Mapping[tuple[loader.Kind, str], loader.Plugin] | None = None) -> None:
        self._loaded = loaded or {}
        self._plugins: dict[tuple[loader.Kind, str], loader.Plugin | None] = {}
        self._given: dict[tuple[str, ...], tuple[dict[str, Any], dict[str, Any]] | str] = {}

    def state(self, result: Result) -> tuple[State, str]:
        """The state of a result, and the reason in words ("" if it is current)."""
        task, model = self._plugin("task", result.task.name), self._plugin("model", result.model.name)
        if task is None or model is None:
            missing = f"task '{result.task.name}'" if task is None else f"model '{result.model.name}'"
            return "not here", f"{missing} is neither built in nor on EBBENCH_PATH"
        if result.budget not in BUDGETS:
            return "not here", "its samples or scores were made elsewhere"
        reasons = [*self._code(result, task, model), *self._settings(result, model)]
        return ("older code", "; ".join(dict.fromkeys(reasons))) if reasons else ("current", "")

    def task_code(self, name: str) -> str:
        """The hash of a task's code; "" if there is no task with that name."""
        task = self._plugin("task", name)
        return task.code_hash if task else ""

    def _plugin(self, kind: loader.Kind, name: str) -> loader.Plugin | None:
        if (kind, name) not in self._plugins:
            try:
                # By name only: a path in a result could lead to untrusted code.
                found = self._loaded.get((kind, name)) or (
                    loader.load(kind, name) if name in loader.names(kind) else None
                )
                if found is not None:
                    _ = found.cls, found.code_hash
                    # Today's run cannot be of a task without a version.
                    found = found if kind == "model" or hasattr(found.cls, "version") else None
            except EbbenchError:
                # `ebbench list` reports the error.
                found = None
            self._plugins[kind, name] = found
        return self._plugins[kind, name]

    def _code(self, result: Result, task: loader.Plugin, model: loader.Plugin) -> Iterator[str]:
        if result.hash_kind == "files":
            yield "its hashes are of another kind (schema version 2 or before)"
            return
        if result.engine != contract.ENGINE:
            yield f"the engine was version {result.engine}, and is {contract.ENGINE}"
        if result.task.version != task.cls.version:
            yield f"the task was version {result.task.version}, and is {task.cls.version}"
        elif result.task.code_hash != task.code_hash:
            yield "the task's code has changed"
        if result.task.data_code_hash != task.data_code_hash:
            yield "the code that reads the data has changed"
        if result.model.code_hash != model.code_hash:
            yield "the model's code has changed"
        yield from self._base(result.training.base)

    def _base(self, base: BasePart | None) -> Iterator[str]:
        if base is None:
            return
        plugin = self._plugin("model", base.name)
        if plugin is None:
            yield f"'{base.name}', which it is built on, is not here"
        elif plugin.code_hash != base.code_hash:
            yield f"the code of '{base.name}', which it is built on, has changed"
        yield from self._base(base.base)

    def _settings(self, result: Result, model: loader.Plugin) -> Iterator[str]:
        sampler = result.sampler.name if result.sampler else ""
        prefix = f"{sampler}."
        changed = {k: v for k, v in result.overrides.items() if not (sampler and k.startswith(prefix))}
        knobs = {k.removeprefix(prefix): v for k, v in result.overrides.items() if k not in changed}
        asked = (
            result.model.name,
            result.task.name,
            result.budget,
            result.model.variant,
            result.task.protocol,
            sampler,
            json.dumps(result.overrides, sort_keys=True),
        )
        # All seeds of a row have the same settings.
        if asked not in self._given:
            self._given[asked] = self._settled(model, result, sampler, changed, knobs)
        found = self._given[asked]
        if isinstance(found, str):
            yield found
            return
        config, values = found
        if config != result.config:
            yield "the card gives other settings"
        if result.sampler and values != result.sampler.knobs:
            yield f"the card gives the sampler '{sampler}' other knobs"

    def _settled(
        self,
        model: loader.Plugin,
        result: Result,
        sampler: str,
        changed: dict[str, Any],
        knobs: dict[str, Any],
    ) -> tuple[dict[str, Any], dict[str, Any]] | str:
        """The settings and knobs of today's run, or why there are none."""
        try:
            config, values = settled(
                model,
                result.task.name,
                budget=result.budget,
                variant=result.model.variant,
                protocol=result.task.protocol,
                sampler=sampler,
                config=changed,
                knobs=knobs,
            )
        except (EbbenchError, KeyError) as error:
            # A variant, a sampler or a knob that no longer exists.
            return f"today's code cannot make its settings ({str(error).splitlines()[0]})"
        return plain(config), {k: plain_value(v) for k, v in values.items()}
