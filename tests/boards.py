"""Rows of a board, made by hand: the same in all but what a test names."""

from __future__ import annotations

from ebbench.board.row import Cell, Row
from ebbench.board.stats import interval


def row(metric: str, model: str, *values: float, **more: object) -> Row:
    """A row of `model` whose seeds 0, 1, ... have these values of `metric`; `more` are fields of Row."""
    held: dict[str, object] = {
        "task": "t",
        "task_version": 1,
        "protocol": "clean",
        "source": "s",
        "options": {},
        "model": model,
        "variant": "",
        "overrides": {},
        "kind": "model",
        "title": model,
        "sampler": None,
        "score": "",
        "budget": "cpu",
        "seeds": list(range(len(values))),
        "runs": [f"{model}{i}" for i in range(len(values))],
        "metrics": {metric: Cell(interval(values), list(values))},
        "published": {},
        "tier": "made here",
        "level": 0.95,
    }
    return Row(**held | more)
