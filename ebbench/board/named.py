"""Finds the rows that a user names, to compare them."""

from __future__ import annotations

from collections.abc import Sequence

from ebbench.board.labels import comparable, distinct, label
from ebbench.board.row import Row
from ebbench.errors import UsageError


def chosen(name: str, group: Sequence[Row], title: str) -> Row | None:
    """The row of a group that a name means; None if none has it.

    A name is MODEL, MODEL:VARIANT or MODEL@SAMPLER, or the label of a row in a table. Of several rows, it
    means the one with exactly that label, or the one with the plain sampler and unchanged settings. `title`
    is the group's, for the message. Raises UsageError if it could mean several.
    """
    called = list(zip(distinct(group), group, strict=True))
    able = [row for own, row in called if name == own or _matches(name, row)]
    exact = [row for own, row in called if name == own] or [
        row for row in able if not row.overrides and row.sampler in (None, "generator")
    ]
    if len(able) > 1 and len(exact) != 1:
        raise UsageError(
            f"'{name}' names {len(able)} rows",
            where=title,
            expected="one of " + ", ".join(own for own, row in called if row in able),
        )
    found = exact if len(able) > 1 else able
    return found[0] if found else None


def must_differ(a: str, b: str) -> None:
    """Raises UsageError if two names are the same."""
    if a == b:
        raise UsageError(f"'{a}' cannot be compared with itself", expected="two rows", fix="name another")


def not_comparable(a: str, b: str, rivals: Sequence[str], rows: Sequence[Row], where: str) -> UsageError:
    """Why `a` and `b` have nothing to compare; `rivals` are those of them that name rows."""
    missing = [name for name in rivals if not any(_matches(name, row) for row in rows)]
    known = ", ".join(sorted({row.label for row in rows})) or "there are none"
    of = [f"{name}: {_groups_of(name, rows)}" for name in rivals]
    return UsageError(
        f"no results of {' and of '.join(missing)}" if missing else f"{a} and {b} have no comparable runs",
        where=where,
        expected=f"two of these rows: {known}"
        if missing
        else f"runs of one version, protocol, budget, data and options; {'; '.join(of)}",
        fix="`ebbench table` shows which were run at which budget and protocol",
    )


def _matches(name: str, row: Row) -> bool:
    whole = label(row)
    return name in (whole, whole.partition(" ")[0], whole.partition("@")[0])


def _groups_of(name: str, rows: Sequence[Row]) -> str:
    """The titles of the groups of comparable rows that have a row."""
    found = [title for title, group in comparable(rows) if any(_matches(name, row) for row in group)]
    return " and ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
