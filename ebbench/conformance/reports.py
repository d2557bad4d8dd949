"""Run one check of the contract suite, and report how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ebbench.conformance.limit import time_limit
from ebbench.errors import EbbenchError
from ebbench.plugins import crash, loader
from ebbench.plugins.guard import plugin_code


@dataclass(frozen=True)
class Report:
    """One check: its name, whether it passed, and the text of what was seen or what is wrong.

    A `remark` tells the author something that breaks no rule.
    """

    name: str
    passed: bool
    text: str
    remark: bool = False


def reported(plugin: loader.Plugin, name: str, function: Callable[[], str], limit: float) -> Report:
    """Run one check, and report it. `function` returns what was seen, and raises if something is wrong.

    The check also fails if it takes longer than `limit` seconds, or if the plug-in raises any error.
    """
    try:
        with time_limit(limit), plugin_code(plugin, None, name):
            return Report(name, True, function())
    except EbbenchError as error:
        if not error.where:
            error.where = crash.fault(error, plugin.folder)
        return Report(name, False, str(error))
