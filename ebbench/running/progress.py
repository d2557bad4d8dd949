"""Progress display: a rich progress bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


PLAIN_SECONDS = 15.0


class Reporter:
    """Shows notes and progress on stderr; stdout is for results. This base class shows nothing."""

    def note(self, text: str) -> None:
        """Show one line to the user."""

    def begin(self, what: str, total: int, done: int = 0) -> None:
        """A stage of `total` steps (or samples) begins, with `done` of them already finished."""

    def update(self, done: int, scalars: Mapping[str, float] | None = None) -> None:
        """`done` steps of the current stage are finished; `scalars` are shown beside them."""

    def end(self) -> None:
        """The current stage is over."""


class PlainReporter(Reporter):
    """One line every 15 seconds, for logs and pipes."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self._what, self._total, self._start = what, total, done
        self._began = self._shown = time.monotonic()

    def update(self, done: int, scalars: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if now - self._shown < PLAIN_SECONDS and done < self._total:
            return
        self._shown = now
        rate = (done - self._start) / max(now - self._began, 1e-9)
        left = (self._total - done) / max(rate, 1e-9)
        numbers = " ".join(f"{name}={value:.4g}" for name, value in (scalars or {}).items())
        line = f"{self._what} {done}/{self._total}  {rate:.1f}/s  {_clock(left)} left  {numbers}"
        print(line.rstrip(), file=sys.stderr, flush=True)


class TerminalReporter(Reporter):
    """A live line with step, rate, time left and the latest scalars."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        from rich import progress

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("[dim]{task.fields[numbers]}"),
            console=self._console,
            transient=True,
        )
        self._start, self._began = done, time.monotonic()
        self._progress.start()
        self._task = self._progress.add_task(what, total=total, completed=done, rate="", numbers="")

    def update(self, done: int, scalars: Mapping[str, float] | None = None) -> None:
        if self._progress is None or self._task is None:
            return
        rate = (done - self._start) / max(time.monotonic() - self._began, 1e-9)
        fields = {"rate": f"{rate:.1f}/s"}
        if scalars is not None:
            fields["numbers"] = " ".join(f"{name}={value:.3g}" for name, value in scalars.items())
        self._progress.update(self._task, completed=done, **fields)  # type: ignore[arg-type]

    def end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def reporter(quiet: bool = False) -> Reporter:
    """The reporter that fits stderr."""
    if quiet:
        return Reporter()
    return TerminalReporter() if sys.stderr.isatty() else PlainReporter()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(min(seconds, 359_999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
