"""The process in which a stranger's code runs: what that code may leave otherwise is put back after it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import NoReturn


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Within the block, standard output is standard error, and `os._exit` raises SystemExit.

    After it, the working directory, `sys.path`, the handlers of SIGINT and SIGTERM, the filters of warnings
    and the streams are what they were. Blocks nest.
    """
    path = list(sys.path)
    with (
        stdout_as_stderr(),
        contextlib.redirect_stdout(sys.stderr),
        # Only to put it back, should the code replace it.
        contextlib.redirect_stderr(sys.stderr),
        warnings.catch_warnings(),
        _no_exit(),
        _signals(),
        _folder(),
    ):
        try:
            yield
        finally:
            sys.path[:] = path


@contextlib.contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """What a child process or a library in C writes to standard output goes to standard error too."""
    sys.stdout.flush()
    try:
        before = os.dup(1)
    except OSError:  # closed: nothing to turn
        yield
        return
    try:
        with contextlib.suppress(OSError):  # closed: what is written there is for nobody
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """`os._exit` would end the command without a word, with any code; a forked child may still end so."""
    before, owner = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != owner:
            before(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = before


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    # Only the main thread may set a handler, so in another none can have been replaced.
    numbers = (signal.SIGINT, signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python, and cannot be set from here.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    try:
        before: str | None = os.getcwd()
    except FileNotFoundError:  # it was removed under the command
        before = None
    try:
        yield
    finally:
        if before is not None:
            # Where the code removed it, there is nothing to go back to.
            with contextlib.suppress(FileNotFoundError):
                os.chdir(before)
