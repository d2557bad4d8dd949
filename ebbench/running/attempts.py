"""The last attempt at a run, as a file in the run store: which process, how far, and how it ended.

`attempts/TASK/MODEL/RUN.json` exists from the moment that a run has its lock until its result is written;
`attempts/trainings/HASH.json` exists during a training without a score. They are for users (`ebbench
status`). Nothing depends on them, and a full disk that prevents them stops no run.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ebbench.errors import EbbenchError, Stopped
from ebbench.running.progress import Reporter
from ebbench.storage import alive
from ebbench.storage.files import home, write_atomically

# Seconds between two writes of a run's progress.
PAUSE = 5.0


@dataclass
class Attempt:
    """One attempt at a run.

    `machine` and `began` are those of `storage.alive`. `training` is the hash of the training that it has
    locked (the folder in the store). `stage` is the current stage ("training", "sampling"), with `done` of
    `total` steps or samples finished and `rate` per second. `said` is the first line of the error, or of the
    reason to stop.
    """

    state: Literal["running", "stopped", "failed"] = "running"
    host: str = ""
    pid: int = 0
    machine: str = ""
    began: str = ""
    training: str = ""
    part: str = ""
    stage: str = ""
    done: int = 0
    total: int = 0
    rate: float = 0.0
    said: str = ""

    @property
    def ended(self) -> bool:
        """Whether its process ran on this machine and no longer exists."""
        return alive.ended(self.pid, self.machine, self.began)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end of the current stage; None if unknown."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None


def attempt_file(task: str, model: str, run_id: str) -> Path:
    """The file of the last attempt at a run."""
    return home() / "attempts" / task / model / f"{run_id}.json"


def training_file(training: str) -> Path:
    """The file of the last attempt at a training without a score, made for runs that wait for it."""
    return home() / "attempts" / "trainings" / f"{training}.json"


def read(path: Path) -> Attempt | None:
    """The attempt in a file; None if there is none or it cannot be read."""
    try:
        return Attempt(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


class Attempting(Reporter):
    """A reporter that also writes the file of the current attempt; it forwards everything to another.

    As a context manager it records how the block ended. Nothing is written before `at` is called.
    """

    def __init__(self, path: Path, inner: Reporter) -> None:
        self._path, self._inner = path, inner
        self._attempt: Attempt | None = None
        self._written = self._began = 0.0
        self._start = 0

    def at(self, training: str, part: str = "") -> None:
        """Record that this process has locked a training; `part` says which of several it is."""
        pid = os.getpid()
        self._attempt = Attempt(
            host=platform.node(),
            pid=pid,
            machine=alive.machine(),
            began=alive.began(pid),
            training=training,
            part=part,
        )
        self._write()

    def note(self, text: str) -> None:
        self._inner.note(text)

    def begin(self, what: str, total: int, done: int = 0) -> None:
        self._inner.begin(what, total, done)
        self._start, self._began = done, time.monotonic()
        if self._attempt is not None and self._attempt.stage != what:
            # A new stage is written immediately.
            self._written = 0.0
        self._set(stage=what, done=done, total=total, rate=0.0)

    def update(self, done: int, scalars: Mapping[str, float] | None = None) -> None:
        self._inner.update(done, scalars)
        seconds = time.monotonic() - self._began
        self._set(done=done, rate=(done - self._start) / seconds if seconds > 0 else 0.0)

    def end(self) -> None:
        self._inner.end()

    def __enter__(self) -> Attempting:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if self._attempt is None:
            return
        if error is None:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            return
        failed = isinstance(error, Exception) and not isinstance(error, Stopped)
        self._attempt.state = "failed" if failed else "stopped"
        self._attempt.said = first_line(error)
        self._write()

    def _set(self, **values: object) -> None:
        if self._attempt is None:
            return
        for name, value in values.items():
            setattr(self._attempt, name, value)
        if not self._written or time.monotonic() - self._written >= PAUSE:
            self._write()

    def _write(self) -> None:
        assert self._attempt is not None
        self._written = time.monotonic()
        # EbbenchError: another process has the run now, and so the file.
        with contextlib.suppress(OSError, EbbenchError):
            write_atomically(self._path, json.dumps(asdict(self._attempt)).encode())


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    if isinstance(error, Stopped):
        # Whoever shows it adds that the same command resumes.
        return first.partition(";")[0]
    return first if isinstance(error, EbbenchError) else f"{type(error).__name__}: {first}".rstrip(": ")
