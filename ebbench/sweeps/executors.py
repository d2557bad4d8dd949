"""Where the runs of a sweep are executed: each is a command, started and watched by an executor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

# Seconds between two looks at the processes.
_LOOK = 0.1
# Seconds that what a process leaves behind (multiprocessing's tracker, say) has to end by itself.
_LINGER = 1.0


class Process(Protocol):
    """One command that was started."""

    def exit_code(self) -> int | None:
        """As a shell reports it (128 + the signal that ended it); None while it runs."""

    def stop(self) -> None:
        """Ask it to save its state and end; asked again, it ends at once."""

    def end(self) -> None:
        """End it and all that it has started, whether it runs or not; then nothing of it is left."""


class Executor(Protocol):
    """What starts commands, and waits for them."""

    def submit(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
        """Start a command, all of whose output goes to `log`. Raises OSError if it cannot."""

    def wait(self, processes: Sequence[Process]) -> None:
        """Wait a moment, or until one of the processes has ended."""


class LocalProcesses:
    """The default executor: processes of this machine, each in a session of its own."""

    def submit(self, argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
        """Start the command; its standard input is empty."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as output:
            # A session of its own: Ctrl-C reaches the run once, through the sweep.
            return _LocalProcess(
                subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            )

    def wait(self, processes: Sequence[Process]) -> None:
        """Look at the processes ten times a second."""
        if all(process.exit_code() is None for process in processes):
            time.sleep(_LOOK)


class _LocalProcess:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def exit_code(self) -> int | None:
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def stop(self) -> None:
        # Only the run itself: its helpers must live until its state is saved.
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        until = time.monotonic() + _LINGER
        while self.exit_code() is not None and self._left() and time.monotonic() < until:
            time.sleep(_LOOK / 5)
        self._signal_all(signal.SIGKILL)
        self._process.wait()

    def _left(self) -> bool:
        """Whether a process of the group is there."""
        return self._signal_all(0)

    def _signal_all(self, number: int) -> bool:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # The session's first process names the group, also once it has ended.
            os.killpg(self._process.pid, number)
            return True
        return False
