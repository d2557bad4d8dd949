"""The folder of one training in the run store: its lock, and what is written there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from ebbench.errors import (
    StorageError,
)
from ebbench.storage.files import write_atomically

# Beside a training that `--force` began anew, until its result is written.
FORCED = "forced"


@contextmanager
def locked(place: Path, note: Callable[[str], None]) -> Iterator[None]:
    """One process at a time in a training's folder; the lock falls with the process that holds it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(place / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            note("another process is at this very run: waiting for it to end (Ctrl-C to leave)")
            lock.acquire()
    except OSError as error:
        raise StorageError(
            f"the run store cannot be used: {error.strerror or error}",
            where=str(place),
            expected="a folder that can be written",
            fix="set EBBENCH_HOME to one",
        ) from error
    try:
        yield
    finally:
        lock.release()


def forget(place: Path) -> None:
    for path in [*place.glob("state*"), *place.glob("checkpoint*"), *place.glob("apart.json")]:
        path.unlink()
    for folder in ("scores", "samples", "given", "evaluations", "apart"):
        shutil.rmtree(place / folder, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Before hours of training: can the result be written at all?"""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Without a name of its own, it is gone with the process, whenever that is killed.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable("the result", folder, error) from error


def write(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all; StorageError where that cannot be done."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise unwritable(f"'{path.name}'", path.parent, error) from error


def unwritable(what: str, folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{what} cannot be written: {error.strerror or error}",
        where=str(folder),
        expected="a folder that can be written, with room in it",
        fix="choose another with --results, or EBBENCH_HOME for the run store; what was saved is kept",
    )
