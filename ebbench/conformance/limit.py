"""A time limit for code that may wait forever."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
import types
from collections.abc import Iterator

from ebbench.errors import ContractError

# Seconds for one check. Most take a few.
LIMIT = 300.0
# Seconds until the error is raised again, in case the code caught it and waits again.
AGAIN = 5.0


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ContractError within this context after `seconds`, even while the code waits for something.

    Processes that the code has started are killed then too. This works only in the main thread of a system
    with SIGALRM. Elsewhere there is no limit.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return
    others = set(multiprocessing.active_children())

    def expire(number: int, frame: types.FrameType | None) -> None:
        # At its end, the program would wait for workers that wait for work or never started.
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise ContractError(
            f"the check did not end within {seconds:g} s",
            expected="a check of a few steps that ends by itself",
            fix="find what it waits for: a pool or a thread that never answers, a lock, a download",
        )

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, expire)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            # Restore an outer time limit, less the time that has passed.
            passed = time.monotonic() - began
            signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.001), interval)
