"""Every error that ebbench raises on purpose.

    EbbenchError                 a mistake that the user can correct; the command line prints it, exit code 2
    +-- UsageError               an unknown name, key or value on the command line or in a plan
    +-- DataError                a data set that is cut short or altered
    |   +-- DataMissing          a data set that is not here
    +-- PluginError              a plug-in folder that cannot be loaded or whose card is wrong
    |   +-- ContractError        a plug-in that loads but breaks the contract (type, shape, range, NaN)
    |   +-- PluginCrash          a plug-in's own code raised
    |   +-- Diverged             a training or a chain left the finite numbers
    +-- StorageError             a file that cannot be read or written (permissions, full disk)
    +-- ResultError              a result file that does not fit its schema
    +-- BundleError              a submitted bundle that is refused
    Stopped                      a signal or a time limit was obeyed: state is saved, the same command goes on

An error says what is wrong, where, what was expected, and what to do next. `Stopped` is no
EbbenchError: nobody made a mistake. Its exit code is the signal's (130 or 143), or 124 for a time limit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

# Names that an error lists; the nearest one is suggested by itself.
MOST_NAMED = 50


class EbbenchError(Exception):
    """A mistake that the user can correct.

    `what` is one sentence; `where` names the file, key or plug-in; `expected` and `fix` complete it.
    """

    def __init__(self, what: str, *, where: str = "", expected: str = "", fix: str = "") -> None:
        self.what, self.where, self.expected, self.fix = what, where, expected, fix
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("where", self.where), ("expected", self.expected), ("fix", self.fix)):
            if text:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


class UsageError(EbbenchError):
    """An unknown name, key or value, on the command line or in a plan."""


class DataError(EbbenchError):
    """A data set that is missing, cut short or altered."""


class DataMissing(DataError):
    """A data set that is in none of the usual places and could not be downloaded."""


class PluginError(EbbenchError):
    """A plug-in folder that cannot be loaded, or whose card is wrong."""


class ContractError(PluginError):
    """A plug-in that loads but breaks the contract: a wrong type, shape, count, range, or NaN."""


class PluginCrash(PluginError):
    """A plug-in's own code raised; the traceback is in the log that the message names."""


class Diverged(PluginError):
    """A training or a chain left the finite numbers; the message names the step and the quantity."""


class StorageError(EbbenchError):
    """A file that cannot be read or written: permissions, a full disk."""


class ResultError(EbbenchError):
    """A result file that does not fit its schema."""


class BundleError(EbbenchError):
    """A submitted bundle that is refused, or cannot be made."""


class Stopped(Exception):
    """A signal or a time limit was obeyed; the state is saved and the same command goes on from it.

    `exit_code` is 128 + the signal's number, as a shell reports it, or 124 for a time limit.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def unknown(kind: str, name: str, known: Iterable[str], *, where: str = "", fix: str = "") -> UsageError:
    """The error for a name that is not among `known`, with the nearest one as a suggestion."""
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else ""
    more = f" and {len(choices) - MOST_NAMED:,} others" if len(choices) > MOST_NAMED else ""
    return UsageError(
        f"unknown {kind} '{name}'",
        where=where,
        expected="one of " + ", ".join(choices[:MOST_NAMED]) + more
        if choices
        else f"a {kind}; none is known here",
        fix=" ".join(part for part in (hint, fix) if part),
    )


def shown(path: Path) -> str:
    """A path as short as it can be said on the user's own screen."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
