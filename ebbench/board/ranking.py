"""Ranks the rows of one group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ebbench.board.row import Row, text_of
from ebbench.board.stats import Better, rank
from ebbench.board.tiers import TIERS
from ebbench.contract import Limit, Metric


def ranked(group: list[Row], metrics: Sequence[Metric], limits: Sequence[Limit] = ()) -> list[Row]:
    """The rows of one group with their ranks: best first, then controls.

    Rows whose tier has no rank come last.
    """
    group = [_gated(row, metrics, limits) for row in group]
    able = {
        i: row for i, row in enumerate(group) if row.kind == "model" and not row.invalid and not row.block
    }
    deciding = deciding_metrics(list(able.values()) or group, metrics)
    if deciding:
        for i in [i for i, row in able.items() if deciding[0].name not in row.metrics]:
            note = f"not ranked: it has no {deciding[0].name}"
            group[i] = replace(group[i], notes=[*group[i].notes, note])
        seeds = {
            i: len(by_seed(row, deciding[0].name))
            for i, row in able.items()
            if deciding[0].name in row.metrics
        }
        # No test applies to a single value: it gets no rank among means and must not separate them.
        for i in [i for i, n in seeds.items() if n == 1 and max(seeds.values()) > 1]:
            note = f"not ranked: only one seed, while other rows have up to {max(seeds.values())}"
            group[i] = replace(group[i], notes=[*group[i].notes, note])
            del able[i]
    places = _places(able, deciding)

    def order(i: int) -> tuple[Any, ...]:
        row = group[i]
        means = [_signed_mean(row, metric) for metric in deciding]
        names = (row.model, row.variant, row.sampler or "", text_of(row.overrides))
        below = -TIERS.index(row.tier) if row.block else -len(TIERS)
        return (below, row.kind == "control", row.invalid, places.get(i, len(group) + 1), *means, *names)

    return [replace(group[i], rank=places.get(i)) for i in sorted(range(len(group)), key=order)]


def deciding_metrics(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that rank `rows`, the first one first: primary ones that all rows have, else that any has.

    A metric that one row alone has, such as an FID by features that others were not scored with, must not
    take the rank of the others.
    """
    able = [metric for metric in metrics if metric.primary and metric.better != "neither"]
    common = [metric for metric in able if all(metric.name in row.metrics for row in rows)]
    return common or [metric for metric in able if any(metric.name in row.metrics for row in rows)]


def placed(group: Sequence[Row]) -> Sequence[Row]:
    """The rows of a group that have a rank; all of them if none has."""
    return [row for row in group if row.rank is not None] or group


def _gated(row: Row, metrics: Sequence[Metric], limits: Sequence[Limit]) -> Row:
    """The row, marked as invalid if a seed failed a gate or exceeds a limit."""
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
    columns = {name: by_seed(row, name) for name in row.metrics}
    for limit in limits:
        values = {s: {n: column[s] for n, column in columns.items() if s in column} for s in row.seeds}
        beyond = {seed: said for seed, found in values.items() if (said := limit.broken(found))}
        if beyond:
            seed, said = next(iter(beyond.items()))
            more = f" (and {len(beyond) - 1} more of its seeds)" if len(beyond) > 1 else ""
            # A control may exceed limits: real data, for example, are copies of training images.
            what = "not ranked: impossible" if row.kind == "model" else "impossible for a model"
            notes.append(f"{what} at seed {seed}{more}: {said}")
    return replace(row, invalid=bool(notes), notes=[*row.notes, *notes])


def _places(group: Mapping[int, Row], deciding: Sequence[Metric]) -> dict[int, int]:
    """The rank of each row by the first metric; ties are broken by the next one."""
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
    """The values of a metric by seed, without missing ones."""
    values = zip(row.seeds, row.metrics[metric].values, strict=True)
    return {seed: value for seed, value in values if value is not None}
