"""Files on their way into the data cache: under another name until they are whole and verified."""

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
    """The path of a file on its way to `target`, in a folder beside it that is gone afterwards.

    Raises `StorageError` where the cache cannot be written.
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
    """Move a verified file to its name, at once: a file of that name is whole at any moment."""
    try:
        part.chmod(0o644)
        os.replace(part, target)
    except OSError as error:
        raise unwritable(target, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """The error for a data cache that cannot be written."""
    return StorageError(
        f"cannot write to the data cache: {error.strerror or error}",
        where=str(path),
        expected="a folder that can be written, with room in it",
        fix="free some space, or set EBBENCH_HOME to a folder that can be written",
    )


def write(file: FileIO, block: bytes) -> None:
    """Write all of `block`, at once and not when the file is closed, where nobody waits for an error.

    Raises `StorageError` for a disk that is full.
    """
    left = memoryview(block)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise unwritable(Path(os.fsdecode(file.name)).parent, error) from error


@contextmanager
def opened(part: Path) -> Iterator[FileIO]:
    """A new file to write to, unbuffered; see `write`."""
    try:
        file = FileIO(part, "w")
    except OSError as error:
        raise unwritable(part.parents[1], error) from error
    with file:
        yield file
