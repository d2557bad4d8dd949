"""Check what a model's process reports about its training, before it is shown or kept."""

from __future__ import annotations

import math
from typing import Any

from ebbench.apart.wire import BadMessage
from ebbench.record.text import shortened
from ebbench.running.curves import Curves

# The maximum for one training: lines shown, names of numbers, points of a curve.
MOST_NOTES, MOST_NAMES, MOST_POINTS = 200, 200, 100_000
_MOST_TEXT, _MOST_NAME = 300, 100


def text(value: Any) -> str:
    """Return `value` as one short line without control characters; "" if it is not text."""
    return shortened(value, _MOST_TEXT) if isinstance(value, str) else ""


def numbers(values: Any) -> dict[str, float]:
    """Return finite numbers by name. Raises BadMessage."""
    if not isinstance(values, dict) or len(values) > MOST_NAMES:
        raise BadMessage("numbers without names, or too many numbers")
    return {_name(name): _number(value) for name, value in values.items()}


def curves(value: Any) -> Curves:
    """Return the curves of a training. Raises BadMessage."""
    if not isinstance(value, dict) or value.keys() != {"step", "seconds", "series"}:
        raise BadMessage("a training without curves")
    step, seconds, series = value["step"], value["seconds"], value["series"]
    lists = isinstance(step, list) and isinstance(seconds, list) and isinstance(series, dict)
    if not lists or len(step) > MOST_POINTS or len(seconds) != len(step) or len(series) > MOST_NAMES:
        raise BadMessage("curves of the wrong form")
    if any(type(n) is not int or not 0 <= n < 2**53 for n in step):
        raise BadMessage("curves at invalid steps")
    made = Curves(step, [_number(one) for one in seconds])
    for name, points in series.items():
        if not isinstance(points, list) or len(points) != len(step):
            raise BadMessage("curves of different lengths")
        made.series[_name(name)] = [None if one is None else _number(one) for one in points]
    return made


def _name(name: str) -> str:
    if len(name) > _MOST_NAME or name != text(name):
        raise BadMessage("a number whose name cannot be shown")
    return name


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise BadMessage("a value that is not a finite number")
    return float(value)
