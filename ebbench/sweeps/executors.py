"""Where the runs of a sweep are executed: each is a command, started and watched by an executor."""

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
# Seconds that what a process leaves behind (multiprocessing's tracker, say) has to end by itself.
_LINGER = 1.0
# Names the graphics cards that a process may use.
VISIBLE = "CUDA_VISIBLE_DEVICES"
KILLED = 128 + signal.SIGKILL
TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Resources:
    """What one run takes: processor cores, and graphics cards (a fraction: a share of one)."""

    cores: int = 1
    gpus: float = 0.0


class Handle(Protocol):
    """One command that was submitted."""

    def poll(self) -> int | None:
        """The exit code as a shell reports it (128 + the signal that ended it); None while it runs or waits.

        A command whose process was lost counts as killed: 137.
        """

    def cancel(self) -> None:
        """Ask it to save its state and end; asked again, it ends at once."""

    def end(self) -> None:
        """End it and all that it has started, whether it runs or not; then nothing of it is left."""


class Executor(Protocol):
    """What starts commands, and waits for them.

    `preempts`: whether somebody else may stop a run at a checkpoint who wants it to go on, such as a
    cluster that needs the node. A sweep then submits it again.
    """

    preempts: bool

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        """Start a command, all of whose output goes to `log`, and whose outcome to a file beside it.

        Raises OSError, or an error of the engine's own, if it cannot.
        """

    def together(self) -> contextlib.AbstractContextManager[None]:
        """What is submitted within the block may be submitted as one; handles can be used after it."""

    def wait(self, handles: Sequence[Handle]) -> None:
        """Wait a moment, or until one of the commands has ended."""

    def close(self) -> None:
        """The sweep is over: nothing more is submitted."""


class LocalProcesses:
    """The default executor: processes of this machine, each in a session of its own.

    `gpus` are the cards to choose from, as CUDA names them: a run that takes one gets the one that the
    fewest others use. Without them a run sees what this process sees.
    """

    preempts = False

    def __init__(self, gpus: Sequence[str] = ()) -> None:
        self._users = Counter(dict.fromkeys(gpus, 0))

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        """Start the command; its standard input is empty."""
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
        """Processes are started one by one."""
        yield

    def wait(self, handles: Sequence[Handle]) -> None:
        """Look at the processes ten times a second."""
        if all(handle.poll() is None for handle in handles):
            time.sleep(_LOOK)

    def close(self) -> None:
        """Nothing is held."""


class Session:
    """A process of this machine, and all that it starts."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Of the first process; it names the session too."""
        return self._process.pid

    def poll(self) -> int | None:
        """As `Handle.poll`."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, seconds: float) -> None:
        """Wait so long at most for its end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def cancel(self) -> None:
        """As `Handle.cancel`."""
        # Only the run itself: its helpers must live until its state is saved.
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """As `Handle.end`."""
        until = time.monotonic() + _LINGER
        while self.poll() is not None and self._left() and time.monotonic() < until:
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


def start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    again: bool = False,
    before: Callable[[], None] | None = None,
) -> Session:
    """Start a command whose output goes to `log`, or to its end where it is started `again`.

    `before` is called in the new process before the command. Raises OSError.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab" if again else "wb") as output:
        # A session of its own: Ctrl-C reaches the run once, through the sweep.
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
    """A process that the sweep itself has started."""

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
