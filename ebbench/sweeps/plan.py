"""A plan -> its jobs."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ebbench.errors import UsageError
from ebbench.running import spec, words
from ebbench.running.request import Request


class _Entry(BaseModel):
    """One `[[runs]]` table: the product of its lists is run."""

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
    """One run of a plan."""

    request: Request
    seed: int

    def label(self) -> str:
        """The job in a few words."""
        r = self.request
        words = [r.task, r.model, r.budget, r.protocol, r.sampler, *(f"{k}={v}" for k, v in r.set.items())]
        return " ".join(word for word in [*words, f"seed {self.seed}"] if word)


def read_plan(path: Path) -> list[Job]:
    """The jobs of a plan, every one resolved once so that a mistake shows before anything runs."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"the plan cannot be read: {error}", where=str(path), expected="a TOML file"
        ) from error
    tables = raw.pop("runs", None)
    if raw or not isinstance(tables, list) or not tables:
        raise UsageError(
            "the plan holds " + (f"an unknown key '{next(iter(raw))}'" if raw else "no runs"),
            where=str(path),
            expected="one or more [[runs]] tables and nothing else",
            fix="see docs/plans.md",
        )
    jobs: dict[str, Job] = {}
    for number, table in enumerate(tables, start=1):
        try:
            entry = _Entry.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(
                f"run {number} of the plan is wrong at '{'.'.join(map(str, first['loc']))}': {first['msg']}",
                where=str(path),
                expected="the keys " + ", ".join(_Entry.model_fields),
            ) from error
        for seed, task, model, budget, protocol, sampler in itertools.product(
            words.parse_seeds(entry.seeds),
            entry.tasks,
            entry.models,
            entry.budgets,
            entry.protocols,
            entry.samplers,
        ):
            request = Request(
                task=task, model=model, budget=budget, protocol=protocol, sampler=sampler, set=entry.set
            )
            job = Job(request, seed)
            jobs[job.label()] = job
    # Once for all seeds.
    for request in {repr(job.request): job.request for job in jobs.values()}.values():
        spec.resolve(request)
    # Seed by seed, so that an interrupted sweep leaves every model with as many seeds.
    return sorted(jobs.values(), key=lambda job: job.seed)
