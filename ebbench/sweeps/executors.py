"""Execute the runs of a sweep. Each run is a command, which an executor starts and watches.

`LocalProcesses` is the executor for this machine. slurm.py and raycluster.py have those for clusters.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ebbench.sweeps.outcome import begun, new_submission, outcome_file, write_outcome

# Seconds between two looks at the processes.
_LOOK = 0.1
# Seconds that the children of an ended process (such as multiprocessing's tracker) have to end by themselves.
_LINGER = 1.0
# The environment variable that names the graphics cards that a process may use.
VISIBLE = "CUDA_VISIBLE_DEVICES"
KILLED = 128 + signal.SIGKILL
TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Resources:
    """What one run takes: processor cores and graphics cards. A fraction is a share of one card."""

    cores: int = 1
    gpus: float = 0.0


class Handle(Protocol):
    """One command that was submitted."""

    def poll(self) -> int | None:
        """The exit code of the command, or None while it runs or waits.

        The code is as a shell reports it: 128 + the signal that ended the command. If the process was lost,
        the command counts as killed: 137.
        """

    def cancel(self) -> None:
        """Ask the command to save its state and end. A second call asks it to end at once."""

    def end(self) -> None:
        """End the command and every process that it started. Afterwards none of them is left.

        Call this also for a command that has ended by itself.
        """


class Executor(Protocol):
    """Starts commands and waits for them.

    `preempts` says whether a run may be stopped at a checkpoint although it should go on, for example by a
    cluster that needs the node. A sweep then submits the run again.
    """

    preempts: bool

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        """Start a command. Its output goes to `log`, and its outcome to a file beside the log.

        Raises OSError, or an error of the cluster's software, if the command cannot be started.
        """

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Within this context, commands may be submitted together. Their handles can be used afterwards."""

    def wait(self, handles: Sequence[Handle]) -> None:
        """Wait a moment, or until one of the commands has ended."""

    def close(self) -> None:
        """Release what the executor holds. The sweep is over and submits nothing more."""


class LocalProcesses:
    """The default executor: processes of this machine, each in its own session.

    `gpus` are the cards to choose from, as CUDA names them. A run that takes a card gets the one that the
    fewest other runs use. Without `gpus`, a run sees the cards that this process sees.
    """

    preempts = False

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._users = Counter(dict.fromkeys(gpus, 0))

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        """Start the command. Its standard input is empty."""
        gpu = min(self._users, key=self._users.__getitem__) if resources.gpus and self._users else None
        if gpu is not None:
            environment = {**environment, VISIBLE: gpu}
        process = start(argv, environment, log)
        if gpu is not None:
            self._users[gpu] += 1
        return _Local(process, log, lambda: self._release(gpu))

    def _release(self, gpu: str | None) -> None:
        if gpu is not None:
            self._users[gpu] -= 1

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing: processes are started one by one."""
        yield

    def wait(self, handles: Sequence[Handle]) -> None:
        """Wait a tenth of a second, unless a process has ended."""
        if all(handle.poll() is None for handle in handles):
            time.sleep(_LOOK)

    def close(self) -> None:
        """Do nothing: this executor holds nothing."""


class Session:
    """A process of this machine, and every process that it starts."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process id of the first process. It is the id of the session too."""
        return self._process.pid

    def poll(self) -> int | None:
        """See `Handle.poll`."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, seconds: float) -> None:
        """Wait for the end of the first process, at most `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def cancel(self) -> None:
        """See `Handle.cancel`."""
        # Signal only the run itself: its helper processes must live until its state is saved.
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """See `Handle.end`."""
        until = time.monotonic() + _LINGER
        while self.poll() is not None and self._left() and time.monotonic() < until:
            time.sleep(_LOOK / 5)
        self._signal_all(signal.SIGKILL)
        self._process.wait()

    def _left(self) -> bool:
        """Whether a process of the group still exists."""
        return self._signal_all(0)

    def _signal_all(self, number: int) -> bool:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # The id of the session's first process names the group, even after that process has ended.
            os.killpg(self._process.pid, number)
            return True
        return False


def start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    again: bool = False,
    before: Callable[[], None] | None = None,
) -> Session:
    """Start a command whose output goes to `log`. With `again`, the output is appended to the log.

    `before` is called in the new process before the command starts. Raises OSError.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab" if again else "wb") as output:
        # In its own session, the run gets Ctrl-C only once: from the sweep, and not from the terminal too.
        return Session(
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=before,
            )
        )


class _Local:
    """The handle of a process that the sweep itself started."""

    def __init__(self, session: Session, log: Path, release: Callable[[], None]) -> None:
        self._session, self._file = session, outcome_file(log)
        self._outcome = begun(new_submission(), session.pid)
        self._began, self._release, self._held = time.monotonic(), release, True
        write_outcome(self._file, self._outcome)

    def poll(self) -> int | None:
        return self._session.poll()

    def cancel(self) -> None:
        self._session.cancel()

    def end(self) -> None:
        self._session.end()
        if not self._held:
            return
        self._held = False
        self._release()
        seconds = round(time.monotonic() - self._began, 3)
        ended = dataclasses.replace(self._outcome, exit_code=self._session.poll(), seconds=seconds)
        write_outcome(self._file, ended)
