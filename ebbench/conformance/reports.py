"""One check of the contract suite, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ebbench.errors import EbbenchError


@dataclass(frozen=True)
class Report:
    """One check: its name, whether it passed, and what was seen or what is wrong."""

    name: str
    passed: bool
    text: str


def reported(name: str, function: Callable[[], str]) -> Report:
    try:
        return Report(name, True, function())
    except EbbenchError as error:
        return Report(name, False, str(error))
