"""Protect the process in which a stranger's code runs: undo the changes that the code makes to it."""

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
    """Within this context, standard output goes to standard error, and `os._exit` raises SystemExit.

    At its end, the working directory, `sys.path`, the handlers of SIGINT and SIGTERM, the filters of warnings
    and the streams are restored. Contexts may be nested.
    """
    path = list(sys.path)
    with (
        stdout_as_stderr(),
        contextlib.redirect_stdout(sys.stderr),
        # This restores sys.stderr if the code replaces it.
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
    """Send to standard error also what child processes and C libraries write to standard output."""
    sys.stdout.flush()
    try:
        before = os.dup(1)
    except OSError:  # standard output is closed, so there is nothing to redirect
        yield
        return
    try:
        with contextlib.suppress(OSError):  # if standard error is closed, leave the output alone
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)


@contextlib.contextmanager
def _no_exit() -> Iterator[None]:
    """Make `os._exit` raise: it would end the command without a message. A forked child may still use it."""
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
    # Only the main thread may set a handler. In any other thread there is nothing to restore.
    numbers = (signal.SIGINT, signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None means a handler that was not set from Python. It cannot be set again from here.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    try:
        before: str | None = os.getcwd()
    except FileNotFoundError:  # the working directory was removed before
        before = None
    try:
        yield
    finally:
        if before is not None:
            # If the code removed the folder, there is nothing to go back to.
            with contextlib.suppress(FileNotFoundError):
                os.chdir(before)
