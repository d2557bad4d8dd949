"""Write and read arrays that ebbench keeps for its own use, as npz files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ebbench.errors import StorageError
from ebbench.storage.files import write_atomically


def keep(path: Path, arrays: Mapping[str, np.ndarray], *, what: str) -> None:
    """Write `arrays` to `path` atomically. `what` names them in an error.

    Raises StorageError for an array of objects, and if the file cannot be written.
    """
    try:
        write_atomically(path, _packed(arrays))
    except ValueError as error:
        raise StorageError(
            f"{what} could not be kept: {error}",
            where=path.name,
            expected="arrays of numbers",
        ) from error
    except OSError as error:
        raise StorageError(
            f"{what} could not be written: {error.strerror or error}",
            where=path.name,
            expected="free space and write permission in ebbench's home",
            fix="free some space (or set EBBENCH_HOME to another disk) and give the same command again",
        ) from error


def kept(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file that `keep` wrote; None if it is missing or damaged.

    Raises StorageError if the file exists and may not be read, since its content is not lost.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(
            f"kept arrays could not be read: {error.strerror or error}",
            where=str(path),
            expected="read permission in ebbench's home",
            fix="change the permissions, or delete the file, which is then made again; repeat the command",
        ) from error
    try:
        return _unpacked(content)
    # NumPy and zipfile raise these for bytes that were cut short or changed.
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, MemoryError):
        return None


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    # `np.savez` is not used: no array could have the name of one of its arguments ("file").
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    found = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.infolist():
            # `keep` does not compress. So an array takes no more memory than its bytes in the file.
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ValueError("a member is compressed")
            # Read the whole member first, so that zipfile compares its checksum.
            raw = io.BytesIO(archive.read(member))
            found[member.filename.removesuffix(".npy")] = np.lib.format.read_array(raw, allow_pickle=False)
    return found
