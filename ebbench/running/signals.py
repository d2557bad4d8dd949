"""Stops at the next safe point after Ctrl-C, SIGTERM or a time limit; a second signal stops immediately."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import types
from collections.abc import Iterator

from ebbench.errors import Stopped, UsageError

# As for the command `timeout`.
TIME_IS_UP = 124
# Another process works on this training (EX_TEMPFAIL of sysexits.h): try again later.
BUSY = 75


class StopRequest:
    """Whether a stop was requested. `safe_points` is true while a loop is running that checks this.

    `signal` is the signal that requested it: SIGINT, SIGTERM, or SIGALRM for a time limit.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.safe_points = False

    @property
    def asked(self) -> bool:
        """Whether the work should stop at its next safe point."""
        return self.signal is not None

    def stopped(self, what: str) -> Stopped:
        """The exception to raise after everything is saved; `what` describes the state of the work.

        Its exit code is 124 after a time limit, else 128 + the signal's number.
        """
        number = self.signal or signal.SIGINT
        late = number == signal.SIGALRM
        by = "the time limit" if late else number.name
        return Stopped(
            f"stopped by {by}: {what}; the same command goes on from here",
            TIME_IS_UP if late else 128 + number,
        )


@contextlib.contextmanager
def stop_on_signals(seconds: float | None = None) -> Iterator[StopRequest]:
    """Context in which SIGINT, SIGTERM and the end of `seconds` set the yielded stop request.

    If no loop checks the request (a fit inside another library, say), Stopped is raised immediately; a second
    SIGINT or SIGTERM always raises it. Only the main thread can handle signals: in other threads nothing
    changes, and a time limit raises UsageError.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        if seconds is not None:
            raise UsageError(
                "a time limit cannot be kept outside the main thread",
                expected="a run in the main thread",
                fix="leave out the time limit, or call from the main thread",
            )
        yield request
        return

    def handle(number: int, frame: types.FrameType | None) -> None:
        again = request.signal is not None
        if again and number == signal.SIGALRM:
            # The time limit adds nothing to a stop that was already requested.
            return
        request.signal = signal.Signals(number)
        if again or not request.safe_points:
            raise request.stopped("at once, what was saved before is kept")
        why = "the time limit is over: " if number == signal.SIGALRM else ""
        print(f"{why}stopping after this step ... (again to stop at once)", file=sys.stderr, flush=True)

    # The alarm is also a signal, so that it reaches a run that waits for a lock or sleeps in a plug-in's
    # code.
    watched = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGALRM] if seconds is not None else [])
    before = {number: signal.signal(number, handle) for number in watched}
    try:
        if seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        yield request
    finally:
        if seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
