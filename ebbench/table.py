"""From results to the rows of a table: one a model, configuration, sampler, budget and protocol.

Only results that differ in nothing but their seed share a row. Rows are ranked within a group of
the same task version, data, options, protocol and budget, and never across. `Row.as_json` is the
stable form that `ebbench table --format json` prints; docs/table.md says what each key means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ebbench.contract import Metric, Published
from ebbench.result import Result, Tier
from ebbench.stats import Better, Interval, interval, rank

# From the least to the most that was done to confirm a number.
TIERS: tuple[Tier, ...] = ("claimed", "recomputed", "reproduced")


@dataclass(frozen=True)
class Cell:
    """One metric of a row: the interval over the seeds, and each seed's value (None: not scored)."""

    interval: Interval
    values: list[float | None]

    def as_json(self) -> dict[str, Any]:
        """The keys mean, low, high (null where one seed says nothing of spread) and values."""
        found = self.interval
        return {"mean": found.mean, "low": found.low, "high": found.high, "values": self.values}


@dataclass(frozen=True)
class Reference:
    """A published number: as printed, with its plus-minus (whatever its source means by it)."""

    value: float
    plus_minus: float | None
    source: str
    confidence: str


@dataclass(frozen=True)
class Row:
    """One row. `seeds` is sorted, and `runs` (the run ids) and every list of values have its order.

    `rank` is the place among the models of the group by the task's primary metrics, the next one
    deciding where the one before it ties; None for a control, for an `invalid` row (a seed of which did
    not pass one of the task's gates), for a row of one seed beside rows of several, and where nothing
    decides. `notes` say why, and which results were left out because newer ones replace them.
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
    rank: int | None = None
    invalid: bool = False
    notes: list[str] = field(default_factory=list)

    def group(self) -> tuple[int, str, str, str, str]:
        """What rows must share to be compared: version (newest first), source, options, protocol, budget."""
        return (-self.task_version, self.source, _text(self.options), self.protocol, self.budget)

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values, with the keys of docs/table.md."""
        return {
            "task": self.task,
            "task_version": self.task_version,
            "protocol": self.protocol,
            "source": self.source,
            "options": self.options,
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
            "rank": self.rank,
            "invalid": self.invalid,
            "notes": self.notes,
        }


def rows(
    results: Iterable[Result],
    task: str,
    *,
    metrics: Sequence[Metric] = (),
    published: Sequence[Published] = (),
    level: float = 0.95,
) -> list[Row]:
    """The rows of `task`, group after group, the models of a group by rank and its controls last.

    `metrics` and `published` are the task's own; without them rows are neither ranked nor set beside
    a published number. Intervals are Student's t over the seeds at `level`.
    """
    pooled: dict[str, list[Result]] = {}
    for result in results:
        if result.task.name == task:
            pooled.setdefault(result.row_key(), []).append(result)
    order = [metric.name for metric in metrics]
    made = [_row(results, order, published, level) for results in pooled.values()]
    groups: dict[Any, list[Row]] = {}
    for row in made:
        groups.setdefault(row.group(), []).append(row)
    return [row for group in sorted(groups) for row in _ranked(groups[group], metrics)]


def _row(results: list[Result], order: list[str], published: Sequence[Published], level: float) -> Row:
    kept, notes = _current(results)
    first = kept[0]
    values = {name: [r.metrics.get(name) for r in kept] for name in _names(kept, order)}
    sampler = first.sampler.name if first.sampler else None
    return Row(
        task=first.task.name,
        task_version=first.task.version,
        protocol=first.task.protocol,
        source=first.task.source,
        options=first.task.row_options,
        model=first.model.name,
        variant=first.model.variant,
        overrides=first.overrides,
        kind=first.model.kind,
        title=first.model.title,
        sampler=sampler,
        score=first.score,
        budget=first.budget,
        seeds=[r.seed for r in kept],
        runs=[r.run_id for r in kept],
        metrics={
            name: Cell(interval([v for v in column if v is not None], level), column)
            for name, column in values.items()
        },
        published=_references(published, first),
        tier=min((r.tier for r in kept), key=TIERS.index),
        level=level,
        notes=notes,
    )


def _current(results: list[Result]) -> tuple[list[Result], list[str]]:
    """One result a seed, all of the newest version of the model; and what was left out.

    The mean over seeds of which some ran on other code, or on values that a card gave then and does
    not give now, would be the mean of nothing. What a model builds on is part of its version.
    """
    newest_first = sorted(results, key=lambda r: (r.created, r.run_id), reverse=True)
    version = _version(newest_first[0])
    current = [r for r in newest_first if _version(r) == version]
    kept: dict[int, Result] = {}
    for result in current:
        kept.setdefault(result.seed, result)
    notes = []
    if stale := len(results) - len(current):
        notes.append(f"left out: {stale} of an older version of the model's code or settings")
    if repeated := len(current) - len(kept):
        notes.append(f"left out: {repeated} that a newer result of the same seed replaces")
    return [kept[seed] for seed in sorted(kept)], notes


def _version(result: Result) -> str:
    knobs = result.sampler.knobs if result.sampler else {}
    versions: list[Any] = [result.model.code_hash, result.config, knobs]
    base = result.training.base
    while base is not None:
        versions += [base.name, base.code_hash, base.config]
        base = base.base
    return _text(versions)


def _names(results: list[Result], order: list[str]) -> list[str]:
    found = {name for result in results for name in result.metrics}
    return [name for name in order if name in found] + sorted(found - set(order))


def _references(published: Sequence[Published], made: Result) -> dict[str, Reference]:
    """The published numbers of this model, variant, sampler and protocol under these values, by metric.

    A published row that names no sampler holds for each, unless another names this one.
    """
    full = f"{made.model.name}:{made.model.variant}" if made.model.variant else made.model.name
    sampler = made.sampler.name if made.sampler else None
    knobs = made.sampler.knobs if made.sampler else {}
    values = (
        made.config
        | {f"{sampler}.{name}": value for name, value in knobs.items()}
        | made.task.row_options
        | {"source": made.task.source}
    )
    fitting = [
        row
        for row in published
        if row.model == full
        and row.sampler in ("", sampler)
        and row.protocol in ("", made.task.protocol)
        and all(name in values and values[name] == value for name, value in row.options.items())
    ]
    found: dict[str, Reference] = {}
    for row in sorted(fitting, key=lambda row: row.sampler == ""):
        for name, (value, plus_minus) in row.metrics.items():
            found.setdefault(name, Reference(value, plus_minus, row.source, row.confidence))
    return found


def _ranked(group: list[Row], metrics: Sequence[Metric]) -> list[Row]:
    """The rows of one group with their ranks, best first, controls last."""
    present = {name for row in group for name in row.metrics}
    deciding = [m for m in metrics if m.primary and m.better != "neither" and m.name in present]
    group = [_gated(row, metrics) for row in group]
    able = {i: row for i, row in enumerate(group) if row.kind == "model" and not row.invalid}
    if deciding:
        seeds = {
            i: len(by_seed(row, deciding[0].name))
            for i, row in able.items()
            if deciding[0].name in row.metrics
        }
        # No test says whether a single value differs: it has no place among means, nor may it part them.
        for i in [i for i, n in seeds.items() if n == 1 and max(seeds.values()) > 1]:
            note = f"not ranked: one seed, beside rows of up to {max(seeds.values())}"
            group[i] = replace(group[i], notes=[*group[i].notes, note])
            del able[i]
    places = _places(able, deciding)

    def order(i: int) -> tuple[Any, ...]:
        row = group[i]
        means = [_signed_mean(row, metric) for metric in deciding]
        names = (row.model, row.variant, row.sampler or "", _text(row.overrides))
        return (row.kind == "control", row.invalid, places.get(i, len(group) + 1), *means, *names)

    return [replace(group[i], rank=places.get(i)) for i in sorted(range(len(group)), key=order)]


def _gated(row: Row, metrics: Sequence[Metric]) -> Row:
    """The row, marked as invalid where one of its seeds did not pass a gate."""
    failed = {
        metric.name: [seed for seed, value in by_seed(row, metric.name).items() if value < 1]
        for metric in metrics
        if metric.gate and metric.name in row.metrics
    }
    notes = [
        f"not ranked: {name} is below 1 for seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
        for name, seeds in failed.items()
        if seeds
    ]
    return replace(row, invalid=bool(notes), notes=[*row.notes, *notes])


def _places(group: Mapping[int, Row], deciding: Sequence[Metric]) -> dict[int, int]:
    """The rank of each row by the first metric; where that ties, the next one decides."""
    if not deciding:
        return {}
    metric, others = deciding[0], deciding[1:]
    able = [i for i, row in group.items() if metric.name in row.metrics]
    ranks = rank([by_seed(group[i], metric.name) for i in able], _better(metric))
    places = dict(zip(able, ranks, strict=True))
    for place in set(ranks) if others else ():
        tied = {i: group[i] for i in able if places[i] == place}
        inner = _places(tied, others)
        for i in tied:
            places[i] = place + inner.get(i, len(inner) + 1) - 1
    return places


def _better(metric: Metric) -> Better:
    return "higher" if metric.better == "higher" else "lower"


def _signed_mean(row: Row, metric: Metric) -> float:
    if metric.name not in row.metrics:
        return 0.0
    mean = row.metrics[metric.name].interval.mean
    return -mean if metric.better == "higher" else mean


def by_seed(row: Row, metric: str) -> dict[int, float]:
    """The values of a metric by seed, without those that were not scored."""
    values = zip(row.seeds, row.metrics[metric].values, strict=True)
    return {seed: value for seed, value in values if value is not None}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
