"""Decisions of the maintainers on disputed model names, from `names.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ebbench.errors import UsageError
from ebbench.record.schema import Result
from ebbench.record.text import fault

FILE = "names.toml"


def _line(text: str) -> str:
    if wrong := fault(text, 500):
        raise ValueError(f"the text {wrong}")
    return text


_Line = Annotated[str, AfterValidator(_line)]


class Standing(BaseModel):
    """The decision on one name.

    - "held": it belongs to `owner`. If `bundles` are listed (SHA-256), only their results count.
    - "disputed": nothing under this name has a rank until the dispute is settled.
    - "withdrawn": nothing under this name counts, and its arrays do not block other submissions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["held", "disputed", "withdrawn"]
    owner: _Line = ""
    bundles: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = ()
    note: _Line = ""


@dataclass(frozen=True)
class Names:
    """The decisions, by name; other names are undisputed."""

    standings: Mapping[str, Standing] = field(default_factory=dict)

    def refusal(self, result: Result) -> str:
        """Why a result under this name only counts as claimed; "" if there is no objection."""
        standing = self.standings.get(result.model.name)
        if standing is None:
            return ""
        said = f": {standing.note}" if standing.note else ""
        if standing.status != "held":
            return f"the name is {standing.status}{said}"
        origin = result.verification.details.get("bundle") if result.verification else None
        if standing.bundles and origin is not None and origin not in standing.bundles:
            return f"the name belongs to another author ({standing.owner or 'its first author'}){said}"
        return ""

    def withdrawn(self, name: str) -> bool:
        """Whether the name is withdrawn, so that its entries block no other submission."""
        standing = self.standings.get(name)
        return standing is not None and standing.status == "withdrawn"


def read(*folders: Path) -> Names:
    """The decisions in folders of results; none without a `names.toml`.

    Raises UsageError for an invalid one.
    """
    found: dict[str, Standing] = {}
    for folder in folders:
        found |= _read(folder / FILE)
    return Names(found)


def _read(path: Path) -> dict[str, Standing]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: Standing.model_validate(table) for name, table in tables.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, ValidationError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise UsageError(
            f"the decisions about names cannot be read: {first}",
            where=str(path),
            expected='one table for each name: status = "held", "disputed" or "withdrawn", '
            "and owner, bundles, note",
            fix="see docs/trust.md",
        ) from error
