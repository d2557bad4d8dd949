"""Rows and comparisons as pandas tables, for notebooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pandas

from ebbench.board import labels
from ebbench.board.compare import Compared
from ebbench.board.row import Row
from ebbench.contract import Metric

_COLUMNS = (
    "tier",
    "rank",
    "kind",
    "model",
    "variant",
    "settings",
    "sampler",
    "budget",
    "protocol",
    "seeds",
    "code",
)


def of_rows(rows: Sequence[Row], metrics: Sequence[Metric]) -> pandas.DataFrame:
    """The table that `ebbench.table` returns; `metrics` are those that the task declares."""
    # A task may declare metrics that no result has, and a result may have metrics that are no longer
    # declared.
    names = [metric.name for metric in metrics]
    names += sorted({name for row in rows for name in row.metrics} - set(names))
    columns = [*_COLUMNS, *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    frame = pandas.DataFrame([_cells(row, names) for row in rows], columns=columns)
    return frame.astype({"rank": "Int64"})


def _cells(row: Row, names: Sequence[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "rank": row.rank,
        "kind": row.kind,
        "model": row.model,
        "variant": row.variant,
        "settings": labels.settings({**row.options, **row.overrides}),
        "sampler": row.sampler or "",
        "budget": row.budget,
        "protocol": row.protocol,
        "seeds": list(row.seeds),
        "code": row.code,
        "tier": row.tier,
    }
    for name in names:
        cell = row.metrics.get(name)
        cells[name] = cell.interval.mean if cell else None
        cells[f"{name}_low"] = cell.interval.low if cell else None
        cells[f"{name}_high"] = cell.interval.high if cell else None
    return cells


def of_comparisons(compared: Sequence[Compared]) -> pandas.DataFrame:
    """The table that `ebbench.compare` returns: a line per comparison, a column per field of Compared."""
    columns = [field.name for field in dataclasses.fields(Compared)]
    return pandas.DataFrame([one.as_json() for one in compared], columns=columns)
