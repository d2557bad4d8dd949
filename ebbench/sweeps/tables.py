"""Tables of a TOML file, read and checked: of plans, profiles and grids."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ebbench.errors import UsageError

Table = TypeVar("Table", bound=BaseModel)


def read_toml(path: Path, what: str, *, fix: str) -> dict[str, Any]:
    """What a TOML file holds; `what` names the file in the message. Raises UsageError."""
    try:
        # Some editors begin a file with a byte order mark, which TOML does not know.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    # ValueError: no UTF-8, no TOML, a NUL in the path, or a whole number of thousands of digits.
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"the {what} cannot be read: {error}", where=str(path), expected="a TOML file", fix=fix
        ) from error


def checked(kind: type[Table], table: object, what: str, *, where: str, fix: str) -> Table:
    """A table as one of a `kind`; `what` names it in the message. Raises UsageError: its first mistake."""
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{what} is wrong at '{'.'.join(map(str, first['loc']))}': {first['msg']}",
            where=where,
            expected="the keys " + ", ".join(kind.model_fields),
            fix=fix,
        ) from error
