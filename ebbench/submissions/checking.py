"""One check of a submission."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ebbench.errors import BundleError

# The relative difference that two numbers may have: another processor may sum in another order. The board
# shows the number that was computed here.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Check:
    """One check: the file, the field, what was found and what was expected."""

    file: str
    field: str
    found: str
    expected: str
    fix: str = ""

    @property
    def good(self) -> bool:
        """Whether the found value is the expected one."""
        return self.found == self.expected

    def __str__(self) -> str:
        file, field, found = (shown(text) for text in (self.file, self.field, self.found))
        if self.good:
            return f"ok: {file}: {field} is {found}"
        cure = f"; {self.fix}" if self.fix else ""
        return f"NOT ok: {file}: {field} is {found}, expected {shown(self.expected)}{cure}"


def shown(text: str) -> str:
    """Return untrusted text as one printable line of at most 300 characters of the text."""
    plain = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:300])
    return plain + ("..." if len(text) > 300 else "")


def first_bad(checks: Iterable[Check]) -> None:
    """Raise BundleError for the first check that fails."""
    bad = [check for check in checks if not check.good]
    if bad:
        raise BundleError(
            f"{len(bad)} of the checks failed: {shown(bad[0].field)} is {shown(bad[0].found)}",
            where=bad[0].file,
            expected=shown(bad[0].expected),
            fix=bad[0].fix,
        )
