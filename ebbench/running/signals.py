"""Ctrl-C and SIGTERM: the first asks for a stop at the next safe point, the second is obeyed at once."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import types
from collections.abc import Iterator

from ebbench.errors import Stopped


class StopRequest:
    """Whether a stop was asked for. `safe_points` is true while a loop is running that looks here."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.safe_points = False

    def stopped(self, what: str) -> Stopped:
        """The exception to raise once everything is saved; `what` says where the work stands."""
        number = self.signal or signal.SIGINT
        return Stopped(f"stopped by {number.name}: {what}; the same command goes on from here", 128 + number)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within the block, SIGINT and SIGTERM set the request that it yields.

    Where nothing looks at the request (a fit inside another library), Stopped is raised at once; the
    second signal always is. Outside the main thread, which alone may handle signals, nothing changes.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: types.FrameType | None) -> None:
        again = request.signal is not None
        request.signal = signal.Signals(number)
        if again or not request.safe_points:
            raise request.stopped("at once, what was saved before is kept")
        print("stopping after this step ... (again to stop at once)", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
