"""Lock the folder of one training in the run store, and write files there."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock

from ebbench.errors import StorageError
from ebbench.storage import leases, locks
from ebbench.storage.files import write_atomically

# A file beside a training that `--force` restarted, until its result is written.
FORCED = "forced"


@contextmanager
def locked(place: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Within this context, this process alone uses a training's folder. `note` tells the user of a wait.

    `locks.kind` chooses the lock: flock, or a lease if several machines share the store. The lock ends with
    the process that holds it. Raises StorageError if the run store cannot be used.
    """
    with ExitStack() as stack:
        try:
            place.mkdir(parents=True, exist_ok=True)
            if locks.kind(place.parent) == locks.LEASE:
                stack.enter_context(leases.held(place, note, locks.heartbeat()))
            else:
                _flock(place, note, stack)
        except OSError as error:
            raise StorageError(
                f"the run store cannot be used: {error.strerror or error}",
                where=str(place),
                expected="a folder that can be written, with room in it",
                fix="free some space, or set EBBENCH_HOME to another folder",
            ) from error
        yield


def _flock(place: Path, note: Callable[[str], None], stack: ExitStack) -> None:
    lock = filelock.FileLock(place / locks.FILE)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        note("another process is working on this run: waiting for it to end (Ctrl-C to leave)")
        lock.acquire()
    stack.callback(lock.release)


@dataclass(frozen=True)
class Holder:
    """The process that holds a training. A lease gives its `host` and `pid`; with flock they are "" and 0.

    `silent` is the seconds since its last heartbeat, or None while these are few enough for a live holder. It
    compares the clocks of this machine and of the file server, so it is only a hint for people.
    """

    host: str = ""
    pid: int = 0
    silent: float | None = None


class Watcher:
    """Looks repeatedly for the holders of trainings. It changes nothing in the store."""

    def __init__(self) -> None:
        self._watches: dict[Path, leases.Watch] = {}

    def holder(self, place: Path) -> Holder | None:
        """The holder of the lock of a training's folder; None if there is none or it cannot be found out.

        A lease whose holder is gone counts as having none.
        """
        try:
            if locks.peek(place.parent) == locks.FLOCK:
                return Holder() if _flocked(place / locks.FILE) else None
            lease = leases.read(place)
            if lease is None or lease.count is None:
                return None
            if self._watches.setdefault(place, leases.Watch()).gone(lease):
                return None
            silent = time.time() - (place / f"lease.{lease.number}").stat().st_mtime
            late = silent > leases.MISSES * lease.heartbeat
            return Holder(lease.host, lease.pid, silent if late else None)
        except OSError:
            return None


def _flocked(lock: Path) -> bool:
    try:
        with open(lock, "rb") as file:
            # The lock is shared and short, so that watchers do not take one another for holders.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def forget(place: Path) -> None:
    """Delete states and checkpoints in `place`, and what lies beside them: scores, samples, evaluations."""
    for path in [*place.glob("state*"), *place.glob("checkpoint*"), *place.glob("apart.json")]:
        path.unlink()
    for folder in ("scores", "samples", "given", "evaluations", "apart"):
        shutil.rmtree(place / folder, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Raise StorageError if no file can be written to `folder`. Called before hours of training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # This file has no name, so nothing is left even if the process is killed.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable("the result", folder, error) from error


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises StorageError if that fails."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(f"'{path.name}'", path.parent, error) from error


def unwritable(what: str, folder: Path, error: OSError) -> StorageError:
    """Return the error for `what`, which cannot be written to `folder`."""
    return StorageError(
        f"{what} cannot be written: {error.strerror or error}",
        where=str(folder),
        expected="a folder that can be written, with room in it",
        fix="choose another with --results, or EBBENCH_HOME for the run store; what was saved is kept",
    )
