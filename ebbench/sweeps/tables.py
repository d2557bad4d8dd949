"""Read and check the tables of TOML files: plans, profiles and grids."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ebbench.errors import UsageError

Table = TypeVar("Table", bound=BaseModel)


def read_toml(path: Path, what: str, *, fix: str) -> dict[str, Any]:
    """Read a TOML file. `what` names the kind of file in an error. Raises UsageError."""
    try:
        # Some editors begin a file with a byte order mark, which TOML does not allow.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    # ValueError: not UTF-8, not TOML, a NUL in the path, or an integer with thousands of digits.
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the {what} cannot be read: {error}", where=str(path), expected="a TOML file", fix=fix
        ) from error


def checked(kind: type[Table], table: object, what: str, *, where: str, fix: str) -> Table:
    """Validate a table as a `kind`. `what` names it in an error. Raises UsageError for the first mistake."""
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        # An unknown key before a missing one: it is likely to be the missing one, misspelt.
        first, *_ = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        raise UsageError(
            f"{what} is wrong at '{'.'.join(map(str, first['loc']))}': {first['msg']}",
            where=where,
            expected="the keys " + ", ".join(kind.model_fields),
            fix=fix,
        ) from error
