"""Files on their way into the data cache: under a temporary name until they are complete and verified."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from ebbench.errors import StorageError


@contextmanager
def arriving(target: Path) -> Iterator[Path]:
    """Context with a temporary path for `target`, in a folder beside it that is removed afterwards.

    Raises `StorageError` if the cache cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise unwritable(target.parent, error) from error
    with folder as path:
        yield Path(path) / target.name


def place(part: Path, target: Path) -> None:
    """Move a verified file to its final name atomically: a file with that name is always complete."""
    try:
        part.chmod(0o644)
        os.replace(part, target)
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """The error for a data cache that is not writable."""
    return StorageError(
        f"cannot write to the data cache: {error.strerror or error}",
        where=str(path),
        expected="a folder that can be written, with room in it",
        fix="free some space, or set EBBENCH_HOME to a folder that can be written",
    )


def write(file: FileIO, block: bytes) -> None:
    """Write all of `block` immediately, so that errors surface here and not when the file is closed.

    Raises `StorageError` if the disk is full.
    """
    left = memoryview(block)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise unwritable(Path(os.fsdecode(file.name)).parent, error) from error


@contextmanager
def opened(part: Path) -> Iterator[FileIO]:
    """A new unbuffered file to write to; see `write`."""
    try:
        file = FileIO(part, "w")
    except OSError as error:
        raise unwritable(part.parents[1], error) from error
    with file:
        yield file
