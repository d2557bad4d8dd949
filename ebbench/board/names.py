"""Whose a model's name is, where that was disputed: the decisions of the maintainers, `names.toml`."""

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
    """What was decided of one name.

    - "held": it is the `owner`'s. Where `bundles` are named (SHA-256), results of others do not count.
    - "disputed": nothing under it has a rank until it is settled.
    - "withdrawn": nothing under it counts, and its arrays stand against nobody else's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["held", "disputed", "withdrawn"]
    owner: _Line = ""
    bundles: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = ()
    note: _Line = ""


@dataclass(frozen=True)
class Names:
    """The decisions, by name; a name that is not among them is nobody's concern."""

    standings: Mapping[str, Standing] = field(default_factory=dict)

    def refusal(self, result: Result) -> str:
        """Why a result counts as claimed for its name; "" where nothing speaks against it."""
        standing = self.standings.get(result.model.name)
        if standing is None:
            return ""
        said = f": {standing.note}" if standing.note else ""
        if standing.status != "held":
            return f"the name is {standing.status}{said}"
        origin = result.verification.details.get("bundle") if result.verification else None
        if standing.bundles and origin is not None and origin not in standing.bundles:
            return f"the name is another's ({standing.owner or 'its first author'}){said}"
        return ""

    def withdrawn(self, name: str) -> bool:
        """Whether what stands under a name stands against nobody."""
        standing = self.standings.get(name)
        return standing is not None and standing.status == "withdrawn"


def read(*folders: Path) -> Names:
    """The decisions in folders of results; none where they have no `names.toml`.

    Raises UsageError for a wrong one.
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
            expected='a table a name: status = "held", "disputed" or "withdrawn", and owner, bundles, note',
            fix="see docs/trust.md",
        ) from error
