"""The progress of a plan: a table on a terminal, plain lines elsewhere; once, or while a sweep runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from ebbench.sweeps.survey import RunState, Survey

# Seconds between two updates: of a live table, and of plain lines.
LIVE, PLAIN = 1.0, 15.0
# At most this many runs that have not started are named.
MOST_WAITING = 10


def lines(states: Sequence[RunState], *, everything: bool = False) -> list[str]:
    """The numbers, and one line for each run with news; with `everything`, one line for every run."""
    rows, more = _rows(states, everything)
    widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
    said = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [numbers(states), *said, *more]


def numbers(states: Sequence[RunState]) -> str:
    """How many runs are done, running, waiting and failed, in one line."""
    from ebbench.sweeps.survey import counts

    said = counts(states)
    return f"{said.pop('done')} of {len(states)} done, " + ", ".join(
        f"{n} {word}" for word, n in said.items()
    )


def table(states: Sequence[RunState], *, everything: bool = False, height: int = 0) -> RenderableType:
    """The same for a terminal, `height` rows high at most (0: as many as it takes)."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    colours = {"running": "cyan", "failed": "red", "done": "green", "waiting": "dim"}
    rows, more = _rows(states, everything)
    if height and len(rows) > height:
        more = [f"... and {len(rows) - height} more lines (`ebbench status` shows them)"]
        rows = rows[:height]
    grid = Table.grid(padding=(0, 2))
    for number in range(len(_COLUMNS)):
        # The words may be folded, and cut where the table has no room for more lines; the numbers may not.
        words = number in (1, len(_COLUMNS) - 1)
        grid.add_column(
            no_wrap=not words or height > 0,
            overflow="ellipsis" if height else "fold",
            min_width=12 if words and any(row[number] for row in rows) else 7 if number == 0 else None,
        )
    for row in rows:
        # Text, not markup: a plug-in's words may hold brackets.
        grid.add_row(Text(row[0], style=colours[row[0]]), *(Text(cell) for cell in row[1:]))
    return Group(Text(numbers(states), style="bold"), grid, *(Text(line, style="dim") for line in more))


@contextlib.contextmanager
def watched(survey: Survey) -> Iterator[None]:
    """While the block runs, show the progress: live on a terminal, elsewhere a line at each change."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    stop = threading.Event()
    if console.is_terminal:
        # What is printed meanwhile goes above the table.
        with Live(console=console, auto_refresh=False, transient=True) as live:
            thread = _thread(lambda: _draw(survey, live, console), stop, LIVE)
            try:
                yield
            finally:
                stop.set()
                thread.join()
        return
    said: list[str] = []
    thread = _thread(lambda: _tell(survey, said), stop, PLAIN)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _thread(look: Callable[[], None], stop: threading.Event, seconds: float) -> threading.Thread:
    def go() -> None:
        try:
            while not stop.is_set():
                began = time.monotonic()
                look()
                # A plan of thousands of runs is looked at less often.
                stop.wait(max(seconds, 10 * (time.monotonic() - began)))
        except Exception as error:  # the sweep itself goes on
            print(f"--watch has stopped: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    thread = threading.Thread(target=go, daemon=True, name="ebbench watch")
    thread.start()
    return thread


def _draw(survey: Survey, live: Live, console: Console) -> None:
    # Two lines for the numbers and for what is left out, one for the cursor.
    live.update(table(survey.look(), height=max(3, console.height - 3)), refresh=True)


def _tell(survey: Survey, said: list[str]) -> None:
    """Print the numbers and the runs in progress, unless the last line said the same."""
    states = survey.look()
    now = [numbers(states)]
    now += [" ".join(f"  {' '.join(cells)}".split()) for cells in map(_cells, _running(states))]
    if now != said:
        said[:] = now
        print("\n".join(now), file=sys.stderr, flush=True)


_COLUMNS = ("state", "run", "where", "how far", "left", "said")
_ORDER = {"running": 0, "failed": 1, "waiting": 2, "done": 3}


def _running(states: Sequence[RunState]) -> list[RunState]:
    return [one for one in states if one.state == "running"]


def _rows(states: Sequence[RunState], everything: bool) -> tuple[list[tuple[str, ...]], list[str]]:
    """One row per run, those in progress first, and lines about the runs that are left out."""
    if everything:
        return [_cells(one) for one in states], []
    fresh = [one for one in states if one.state == "waiting" and not one.said]
    named = {id(one) for one in fresh[:MOST_WAITING]}
    shown = [
        one
        for one in states
        if one.state != "done" and (one.state != "waiting" or one.said or id(one) in named)
    ]
    # Runs that have started come before runs that have not.
    shown.sort(key=lambda one: (_ORDER[one.state], not one.said))
    left = len(fresh) - len(named)
    return [_cells(one) for one in shown], [
        f"... and {left} more waiting (--all names every run)"
    ] if left else []


def _cells(one: RunState) -> tuple[str, ...]:
    from ebbench.record.text import visible
    from ebbench.sweeps.survey import duration

    where = f"{one.host}:{one.pid}" if one.state == "running" and one.host else ""
    far = f"{one.stage} {one.step:,}/{one.steps:,}" if one.stage else ""
    left = "" if one.seconds_left is None else f"{duration(one.seconds_left)} left"
    # A plug-in's own words: a terminal shows them, and does not obey.
    return one.state, one.run, where, far, left, visible(one.said)
