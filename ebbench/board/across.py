"""Compares methods over many data sets, as Demsar (2006) recommends.

Janez Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7. The tests use one
number per method and data set, the mean over the seeds. The sample is the data sets, not the seeds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ebbench.board.labels import distinct
from ebbench.board.row import Row
from ebbench.board.stats import ALPHA, Better, holm
from ebbench.contract import Metric
from ebbench.record.schema import Result

# With fewer data sets the tests of this module say nothing.
LEAST_SETS = 5
# Of more methods, the pairs are too many for a line each.
MOST_BY_PAIRS = 5


@dataclass(frozen=True)
class Pair:
    """Two methods over the data sets: how often each is better, and Wilcoxon's signed-rank test.

    `difference` is the median of a - b over the data sets. `adjusted` is p after Holm's correction over all
    pairs of the comparison.
    """

    a: str
    b: str
    wins: int
    ties: int
    losses: int
    difference: float
    p: float
    adjusted: float

    @property
    def apart(self) -> bool:
        """Whether the test finds a difference."""
        return self.adjusted < ALPHA


@dataclass(frozen=True)
class Across:
    """Methods over data sets, sorted by average rank, the best first.

    `values[i][j]` is the mean over the seeds of method i on data set j. `ranks` are average ranks: 1 is the
    best, and ties share a rank. `friedman` is the p-value of the hypothesis that all methods are equal
    (Friedman's test in Iman and Davenport's form), None for fewer than three methods. `critical` is Nemenyi's
    critical difference between two average ranks at the 5 % level.
    """

    metric: str
    better: Better
    methods: list[str]
    sets: list[str]
    values: list[list[float]]
    ranks: list[float]
    friedman: float | None
    critical: float
    pairs: list[Pair]

    @property
    def alike(self) -> list[tuple[int, int]]:
        """Groups of consecutive methods whose average ranks all differ by less than `critical`.

        Each group is maximal and has at least two methods.
        """
        found: list[tuple[int, int]] = []
        for first, rank in enumerate(self.ranks):
            last = max(i for i, other in enumerate(self.ranks) if other - rank < self.critical or i == first)
            if last > first and not any(last <= end for _, end in found):
                found.append((first, last))
        return found

    def as_json(self) -> dict[str, Any]:
        """As JSON values, one key per field."""
        return {**vars(self), "pairs": [vars(pair) for pair in self.pairs]}


def by_set(row: Row, results: Mapping[str, Result], metric: str) -> dict[str, float]:
    """The mean over seeds of one metric, by data set (part); only data sets that every seed has."""
    seeds = [
        {part.name: part.metrics[metric] for part in results[run].parts if metric in part.metrics}
        for run in row.runs
    ]
    common = set.intersection(*(set(values) for values in seeds)) if seeds else set()
    return {name: math.fsum(v[name] for v in seeds) / len(seeds) for name in seeds[0] if name in common}


def of_group(
    title: str, rows: Sequence[Row], results: Iterable[Result], metrics: Sequence[Metric]
) -> list[tuple[str, Across]]:
    """Comparisons of the rows of one group, one per primary metric, each with the group's title.

    Rows whose tier has no rank, invalid rows and controls are excluded.
    """
    by_run = {result.run_id: result for result in results}
    found = (of_rows(rows, by_run, metric) for metric in metrics if metric.primary)
    return [(title, one) for one in found if one is not None]


def of_rows(rows: Sequence[Row], results: Mapping[str, Result], metric: Metric) -> Across | None:
    """Compare the rankable rows of one group over the data sets that all of them have.

    None if fewer than two rows or fewer than `LEAST_SETS` data sets remain.
    """
    named = {
        name: values
        for name, row in zip(distinct(rows), rows, strict=True)
        if row.kind == "model" and not row.block and not row.invalid
        if (values := by_set(row, results, metric.name))
    }
    return compared(metric.name, "higher" if metric.better == "higher" else "lower", named)


def compared(metric: str, better: Better, named: Mapping[str, Mapping[str, float]]) -> Across | None:
    """Compare methods, given by name with a value per data set, over the data sets that all of them have.

    None under the same conditions as `of_rows`.
    """
    if len(named) < 2:
        return None
    common = set.intersection(*(set(values) for values in named.values()))
    sets = [name for name in next(iter(named.values())) if name in common]
    if len(sets) < LEAST_SETS:
        return None
    from scipy.stats import rankdata

    table = np.array([[values[name] for name in sets] for values in named.values()])
    signed = -table if better == "higher" else table
    ranks = rankdata(signed, axis=0).mean(axis=1)
    order = sorted(range(len(ranks)), key=lambda i: (ranks[i], list(named)[i]))
    methods = [list(named)[i] for i in order]
    return Across(
        metric=metric,
        better=better,
        methods=methods,
        sets=sets,
        values=[[float(v) for v in table[i]] for i in order],
        ranks=[float(ranks[i]) for i in order],
        friedman=_friedman(ranks, len(sets), signed),
        critical=_critical(len(methods), len(sets)),
        pairs=_pairs(methods, table[order], better),
    )


def _friedman(ranks: np.ndarray, sets: int, signed: np.ndarray) -> float | None:
    """Demsar, section 3.2.2: Friedman's statistic with scipy's tie correction, as an F statistic."""
    k = len(ranks)
    if k < 3:
        return None
    if (signed == signed[0]).all():
        return 1.0
    from scipy.stats import f, friedmanchisquare

    statistic = float(friedmanchisquare(*signed).statistic)
    rest = sets * (k - 1) - statistic
    # All data sets give the same order of methods.
    if rest <= 1e-9 * sets:
        return 0.0
    return float(f.sf((sets - 1) * statistic / rest, k - 1, (k - 1) * (sets - 1)))


def _critical(k: int, sets: int) -> float:
    """Demsar, section 3.2.2: q sqrt(k (k + 1) / (6 N)), q the studentized range quantile over sqrt 2."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - ALPHA, k, np.inf)) / math.sqrt(2)
    return q * math.sqrt(k * (k + 1) / (6 * sets))


def _pairs(methods: Sequence[str], table: np.ndarray, better: Better) -> list[Pair]:
    indices = list(itertools.combinations(range(len(methods)), 2))
    sign = 1.0 if better == "higher" else -1.0
    first, second = (np.array(side) for side in zip(*indices, strict=True))
    gaps = table[first] - table[second]
    # Equal differences can differ by rounding.
    sizes = np.abs(table).max(axis=1)
    gaps[np.abs(gaps) <= 1e-12 * np.maximum(sizes[first], sizes[second])[:, None]] = 0.0
    found = _wilcoxon(gaps)
    medians, wins = np.median(gaps, axis=1), (sign * gaps > 0).sum(axis=1)
    ties = (gaps == 0).sum(axis=1)
    return [
        Pair(
            methods[i],
            methods[j],
            wins=int(wins[at]),
            ties=int(ties[at]),
            losses=len(gaps[at]) - int(wins[at]) - int(ties[at]),
            difference=float(medians[at]),
            p=found[at],
            adjusted=adjusted,
        )
        for at, ((i, j), adjusted) in enumerate(zip(indices, holm(found), strict=True))
    ]


def _wilcoxon(gaps: np.ndarray) -> list[float]:
    """p-values of Wilcoxon's signed-rank test for each row of differences, (m, n); 1 if all are zero."""
    from scipy.stats import wilcoxon

    p = np.ones(len(gaps))
    sizes = np.sort(np.abs(gaps), axis=1)
    # scipy uses one method for all rows of a call; the exact method needs rows without ties and zeros.
    plain = (sizes[:, 0] > 0) & (np.diff(sizes, axis=1) > 0).all(axis=1)
    for rows in (plain, ~plain & gaps.any(axis=1)):
        if rows.any():
            p[rows] = wilcoxon(gaps[rows], zero_method="zsplit", axis=1).pvalue
    return [float(one) for one in p]


def in_words(title: str, found: Across) -> list[str]:
    """A comparison as lines of text, with average ranks if there are more than two methods."""
    n = len(found.sets)
    lines = [f"{title}: {found.metric} over {n} data sets, the mean over the seeds of each"]
    if len(found.methods) > 2:
        width = max(map(len, found.methods))
        lines += [
            f"  {name:{width}}  average rank {rank:.2f}, median {np.median(values):.4g}"
            for name, rank, values in zip(found.methods, found.ranks, found.values, strict=True)
        ]
        p = "" if found.friedman is None else f"; all alike: p {spelled_p(found.friedman)} (Friedman)"
        lines.append(f"  ranks that differ by less than {found.critical:.2f} are alike (Nemenyi, 5 %){p}")
    lines += _each_pair(found) if len(found.methods) <= MOST_BY_PAIRS else _told_apart(found)
    return lines


def _each_pair(found: Across) -> list[str]:
    lines = []
    for pair in found.pairs:
        p = f"p {spelled_p(pair.p)}"
        p += f" (by Holm {spelled_p(pair.adjusted)})" if len(found.pairs) > 1 else ""
        verdict = f"{_better(found, pair)} is better" if pair.apart else "a tie"
        lines.append(
            f"  {pair.a} is better than {pair.b} on {pair.wins} of {len(found.sets)}, "
            f"worse on {pair.losses}; {p}, Wilcoxon: {verdict}"
        )
    return lines


def _told_apart(found: Across) -> list[str]:
    """A line for each method that the test finds better than some: of many methods most pairs are ties."""
    beaten: dict[str, list[str]] = {name: [] for name in found.methods}
    for pair in found.pairs:
        if pair.apart:
            better = _better(found, pair)
            beaten[better].append(pair.b if better == pair.a else pair.a)
    lines = [f"  {name} is better than {', '.join(worse)}" for name, worse in beaten.items() if worse]
    test = f"Wilcoxon at 5 %, by Holm over {len(found.pairs)} pairs"
    return [*lines, f"  all other pairs tie ({test}); --json prints each pair"]


def _better(found: Across, pair: Pair) -> str:
    """The one of a pair with the better average rank."""
    return min(pair.a, pair.b, key=lambda name: found.ranks[found.methods.index(name)])


def spelled_p(p: float) -> str:
    """A p-value with its relation: "= 0.012", or "< 0.001"."""
    return "< 0.001" if p < 1e-3 else f"= {p:.3f}"
