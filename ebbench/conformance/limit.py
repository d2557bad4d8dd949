"""A limit of time for code that may wait for ever."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
import types
from collections.abc import Iterator

from ebbench.errors import ContractError

# Seconds; a check takes a few.
LIMIT = 300.0
# Until the error is raised once more, in code that caught it and waits again.
AGAIN = 5.0


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise ContractError in the block once it has taken `seconds`, also where it waits for something.

    The processes that the block has started end then too. Only the main thread of a system with SIGALRM can
    be interrupted so; elsewhere there is no limit.
    """
    if not hasattr(signal, "SIGALRM") or threading.current_thread() is not threading.main_thread():
        yield
        return
    others = set(multiprocessing.active_children())

    def expire(number: int, frame: types.FrameType | None) -> None:
        # A worker that waits for work, or that never came up, would be waited for at the end of the program.
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
        raise ContractError(
            f"it had not ended after {seconds:g} s",
            expected="a check of a few steps that ends by itself",
            fix="look at what it waits for: a pool or a thread that never answers, a lock, a download",
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
            # Somebody else's limit goes on.
            passed = time.monotonic() - began
            signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.001), interval)
