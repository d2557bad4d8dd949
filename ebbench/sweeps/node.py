"""Start and watch one run on a node of a cluster, and report it to the sweep through files."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebbench.storage.files import write_atomically
from ebbench.sweeps.executors import KILLED, TERMINATED, VISIBLE, Session, start
from ebbench.sweeps.outcome import begun, read_outcome, write_outcome

# Environment variables that come from the node and never from the login node.
_OF_THE_NODE = (VISIBLE, "TMPDIR", "HOSTNAME", "XDG_RUNTIME_DIR")
_OF_ITS_ENGINE = ("SLURM", "SUBMITIT_", "RAY_")
# Seconds between two looks for a request of the sweep to end.
_LOOK = 0.2
# The pressure on a run to end: stop at a checkpoint, stop at once, be killed.
CANCEL, AT_ONCE, KILL = 1, 2, 3
# When the time of a job is over, a run that does not stop within so many seconds is killed.
_PATIENCE = 600.0
_PR_SET_PDEATHSIG = 1


@dataclass
class NodeRun:
    """A command to run on a node. The object is sent to the node and called there.

    `outcome` is the file that says how the run stands. It must lie in a folder that all machines share.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    outcome: Path
    submission: str

    def __call__(self) -> int:
        """Run the command to its end. Return its exit code as a shell reports it."""
        # A run that was queued again appends to its log.
        again = read_outcome(self.outcome, self.submission) is not None
        session = start(self.argv, self._variables(), self.log, again=again, before=_tied)
        self._session = session
        outcome = begun(self.submission, session.pid)
        write_outcome(self.outcome, outcome)
        pressed, code = 0, None
        while (code := session.poll()) is None:
            session.wait(_LOOK)
            wanted = self.wanted()
            while pressed < wanted:
                pressed += 1
                _press(session, pressed)
        session.end()
        seconds = round(time.time() - outcome.began, 3)
        write_outcome(self.outcome, dataclasses.replace(outcome, exit_code=code, seconds=seconds))
        return code

    def stop(self) -> None:
        """Ask the running command to stop at a checkpoint, and wait for its end."""
        session: Session | None = getattr(self, "_session", None)
        if session is None or session.poll() is not None:
            return
        session.cancel()
        session.wait(_PATIENCE)
        session.end()

    def again(self) -> NodeRun:
        """Return a new object for the same command, to be called once more."""
        return type(self)(**{field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    def want(self, pressure: int) -> None:
        """Ask the run to end with `pressure`. This works from any machine. Raises OSError."""
        write_atomically(self._word, f"{self.submission} {pressure}".encode())

    def wanted(self) -> int:
        """The pressure on the run to end; 0 for none."""
        try:
            submission, pressure = self._word.read_text().split()
        except (OSError, ValueError):
            return 0
        return int(pressure) if submission == self.submission else 0

    def forget(self) -> None:
        """Remove the request to end, once the run has ended."""
        self._word.unlink(missing_ok=True)

    @property
    def _word(self) -> Path:
        return self.outcome.with_suffix(".cancel")

    def _variables(self) -> dict[str, str]:
        here = {k: v for k, v in os.environ.items() if k in _OF_THE_NODE or k.startswith(_OF_ITS_ENGINE)}
        there = {k: v for k, v in self.environment.items() if k not in _OF_THE_NODE}
        return there | here


def _press(session: Session, pressure: int) -> None:
    if pressure >= KILL:
        session.end()
    elif session.poll() is None:
        session.cancel()


def _tied() -> None:
    """Prepare the new process so that the command ends when the process that watches it is killed."""
    # Slurm signals every process of a job before its time limit. Only the watching process may act on that.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    if _LIBC is not None:
        # If the watching process is killed, the run gets SIGTERM, saves its state and ends.
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class NodeHandle:
    """The handle of a run on a node, seen through its files.

    A subclass defines `_gone`, whether the cluster no longer has the run, and `_kill`.
    """

    def __init__(self, run: NodeRun) -> None:
        self.run = run
        self._code: int | None = None
        self._pressure = 0

    def poll(self) -> int | None:
        """The exit code, or None while the run goes on.

        A run that the cluster lost counts as killed, or as stopped if it was cancelled.
        """
        if self._code is None:
            outcome = read_outcome(self.run.outcome, self.run.submission)
            if outcome is not None and outcome.exit_code is not None:
                self._code = outcome.exit_code
            elif self._gone():
                self._code = TERMINATED if self._pressure in (CANCEL, AT_ONCE) else KILLED
        return self._code

    def cancel(self) -> None:
        """Ask the run to stop at a checkpoint. A second call asks it to stop at once."""
        self._pressure = min(AT_ONCE, self._pressure + 1)
        self.run.want(self._pressure)

    def end(self) -> None:
        """End the run, whether it runs or waits in a queue."""
        if self.poll() is None:
            self._pressure = KILL
            self.run.want(KILL)
            self._kill()
            self._code = KILLED
        elif self._pressure != KILL:
            self.run.forget()

    def _gone(self) -> bool:
        raise NotImplementedError

    def _kill(self) -> None:
        raise NotImplementedError
