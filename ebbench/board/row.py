"""One row of a table: a model in one configuration, over its seeds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from ebbench.board.currency import State
from ebbench.board.stats import Interval
from ebbench.board.tiers import RANKED, Tier


@dataclass(frozen=True)
class Cell:
    """One metric of a row: the interval over seeds, and each seed's value (None if not scored)."""

    interval: Interval
    values: list[float | None]

    def as_json(self) -> dict[str, Any]:
        """The keys mean, low, high (null with a single seed) and values."""
        found = self.interval
        return {"mean": found.mean, "low": found.low, "high": found.high, "values": self.values}


@dataclass(frozen=True)
class Reference:
    """A published number as printed, with its plus-minus (in whatever sense the source uses it)."""

    value: float
    plus_minus: float | None
    source: str
    confidence: str


@dataclass(frozen=True)
class Row:
    """One row. `seeds` is sorted; `runs` (the run ids) and all lists of values are in its order.

    `rank` is the place among the group's models by the task's primary metrics, each breaking ties of the one
    before. It is None for a control, for an `invalid` row (a seed failed one of the task's gates), for a row
    of one seed beside rows of several, and if nothing decides. `code` says whether the checkout would make
    the row again. `notes` explain why not, why a row has no rank, and which results were replaced by newer
    ones. `commits` and `machines` are those of the trainings, without repeats. `data` identifies the files of
    the data: a short hash, or "" for a task that reads none.
    """

    task: str
    task_version: int
    protocol: str
    source: str
    options: dict[str, Any]
    model: str
    variant: str
    overrides: dict[str, Any]
    kind: Literal["model", "control"]
    title: str
    sampler: str | None
    score: str
    budget: str
    seeds: list[int]
    runs: list[str]
    metrics: dict[str, Cell]
    published: dict[str, Reference]
    tier: Tier
    level: float
    commits: list[str] = field(default_factory=list)
    machines: list[str] = field(default_factory=list)
    data: str = ""
    rank: int | None = None
    invalid: bool = False
    code: State = "current"
    notes: list[str] = field(default_factory=list)

    @cached_property
    def label(self) -> str:
        """The row's label with its settings: "model:variant@sampler knob=value"."""
        changed = "".join(f" {key}={value}" for key, value in sorted(self.overrides.items()))
        variant = f":{self.variant}" if self.variant else ""
        return f"{self.model}{variant}{f'@{self.sampler}' if self.sampler else ''}{changed}"

    @property
    def block(self) -> str:
        """ "" for a row that may be ranked; else its tier, under which it stands below those that may."""
        return "" if self.tier in RANKED else self.tier

    def group(self) -> tuple[int, str, str, str, str, str]:
        """What comparable rows share: version (newest first), source, options, data, protocol, budget."""
        options = text_of(self.options)
        return (-self.task_version, self.source, options, self.data, self.protocol, self.budget)

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values, with the keys of docs/table.md."""
        return {
            "task": self.task,
            "task_version": self.task_version,
            "protocol": self.protocol,
            "source": self.source,
            "options": self.options,
            "data": self.data,
            "model": self.model,
            "variant": self.variant,
            "overrides": self.overrides,
            "kind": self.kind,
            "title": self.title,
            "sampler": self.sampler,
            "score": self.score,
            "budget": self.budget,
            "seeds": self.seeds,
            "runs": self.runs,
            "metrics": {name: cell.as_json() for name, cell in self.metrics.items()},
            "level": self.level,
            "method": "t",
            "published": {name: asdict(reference) for name, reference in self.published.items()},
            "tier": self.tier,
            "block": self.block,
            "rank": self.rank,
            "invalid": self.invalid,
            "code": self.code,
            "commits": self.commits,
            "machines": self.machines,
            "notes": self.notes,
        }


def text_of(value: Any) -> str:
    """The value as JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
