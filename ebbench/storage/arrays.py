"""Arrays that ebbench keeps for itself, in the run store and beside it, as npz files."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ebbench.errors import StorageError
from ebbench.storage.files import write_atomically


def keep(path: Path, arrays: Mapping[str, np.ndarray], *, what: str) -> None:
    """Write `arrays` to `path`, whole or not at all; `what` names them where that fails (StorageError)."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise StorageError(
            f"{what} could not be written: {error.strerror or error}",
            where=path.name,
            expected="room and leave to write in ebbench's home",
            fix="free some space (or set EBBENCH_HOME to another disk) and give the same command again",
        ) from error


def kept(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file that `keep` wrote; None where there is none, or one that was damaged since.

    StorageError where there is a file that cannot be read: what it holds is not lost.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(
            f"kept arrays could not be read: {error.strerror or error}",
            where=str(path),
            expected="leave to read in ebbench's home",
            fix="change the permissions (or delete it: it is made again) and give the same command again",
        ) from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    # What NumPy and zipfile raise for bytes that were cut short or altered.
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
