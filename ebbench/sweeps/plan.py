"""Read a plan, a TOML file that names many runs, and return its jobs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ebbench.errors import EbbenchError, UsageError
from ebbench.plugins import loader
from ebbench.plugins.plugin import Plugin
from ebbench.running import words
from ebbench.running.request import Request
from ebbench.running.spec import Spec, resolve
from ebbench.sweeps.tables import checked, read_toml


class _Entry(BaseModel):
    """One `[[runs]]` table. It stands for every combination of the values in its lists."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tasks: list[str] = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    budgets: list[str] = ["cpu"]
    protocols: list[str] = [""]
    samplers: list[str] = [""]
    seeds: str = "0-4"
    set: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of a plan: the request, the spec that it resolves to, and the seed."""

    request: Request
    spec: Spec
    seed: int

    def label(self) -> str:
        """The job in a few words."""
        r = self.request
        said = [r.task, r.model, r.budget, r.protocol, r.sampler, *(f"{k}={v}" for k, v in r.set.items())]
        return " ".join(word for word in [*said, f"seed {self.seed}"] if word)


def read_plan(path: Path) -> list[Job]:
    """Return the jobs of a plan, sorted by seed.

    Every request is resolved, so that a mistake shows before anything runs. Raises UsageError, or
    PluginError if a task or a model cannot be loaded.
    """
    asked = [job for entry in _entries(path) for job in _product(entry, where=str(path))]
    load = functools.cache(loader.load)
    specs: dict[str, Spec] = {}
    jobs: dict[tuple[str, int], Job] = {}
    for request, seed in asked:
        key = repr(request)
        if key not in specs:
            specs[key] = _resolved(request, load, path)
        # A run that several tables name is made once.
        jobs[key, seed] = Job(request, specs[key], seed)
    # Sort by seed, so that an interrupted sweep leaves all models with about the same number of seeds.
    return sorted(jobs.values(), key=lambda job: job.seed)


def _resolved(request: Request, load: Callable[..., Plugin], path: Path) -> Spec:
    """The spec of a request. An error names the plan too, and its key `set` in place of `--set`."""
    try:
        return resolve(request, load)
    except EbbenchError as error:
        error.where = ", ".join(filter(None, [str(path), error.where.replace("--set", "set")]))
        raise


def _entries(path: Path) -> Iterator[_Entry]:
    for number, table in enumerate(_tables(path), start=1):
        yield checked(_Entry, table, f"run {number} of the plan", where=str(path), fix="see docs/plans.md")


def _tables(path: Path) -> list[Any]:
    raw = read_toml(path, "plan", fix="see docs/plans.md")
    tables = raw.pop("runs", None)
    # profile.py reads this table.
    raw.pop("executor", None)
    if tables is None and "methods" in raw:
        raise UsageError(
            "this is a grid, not a plan",
            where=str(path),
            expected="one or more [[runs]] tables",
            fix=f"`ebbench grid {path}` runs it; it has no status and no estimate",
        )
    if raw or not isinstance(tables, list) or not tables:
        raise UsageError(
            "the plan holds " + (f"an unknown key '{next(iter(raw))}'" if raw else "no runs"),
            where=str(path),
            expected="one or more [[runs]] tables, an [executor] table or none, and nothing else",
            fix="see docs/plans.md",
        )
    return tables


def _product(entry: _Entry, where: str) -> Iterator[tuple[Request, int]]:
    settings = words.checked_settings(_flat(entry.set), where)
    for seed, task, model, budget, protocol, sampler in itertools.product(
        words.parse_seeds(entry.seeds, where),
        entry.tasks,
        entry.models,
        entry.budgets,
        entry.protocols,
        entry.samplers,
    ):
        request = Request(
            task=task, model=model, budget=budget, protocol=protocol, sampler=sampler, set=settings
        )
        yield request, seed


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield each setting with its full key, since TOML reads `shifted.by = 1` as a table."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
