"""One check of the contract suite, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ebbench.conformance.limit import time_limit
from ebbench.errors import EbbenchError
from ebbench.plugins import crash, loader
from ebbench.plugins.guard import plugin_code


@dataclass(frozen=True)
class Report:
    """One check: its name, whether it passed, and what was seen or what is wrong.

    A `remark` is something that the author should know and that breaks nothing.
    """

    name: str
    passed: bool
    text: str
    remark: bool = False


def reported(plugin: loader.Plugin, name: str, function: Callable[[], str], limit: float) -> Report:
    """The report of one check: `function` gives what was seen, and raises what is wrong.

    It has failed too where it takes longer than `limit` seconds, and whatever else the plug-in raises.
    """
    try:
        with time_limit(limit), plugin_code(plugin, None, name):
            return Report(name, True, function())
    except EbbenchError as error:
        if not error.where:
            error.where = crash.fault(error, plugin.folder)
        return Report(name, False, str(error))
