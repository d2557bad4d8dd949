"""The console that tables are printed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def for_tables() -> Console:
    """A console on standard output: as wide as the terminal, or 200 columns in a pipe, which has no width."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    return console
