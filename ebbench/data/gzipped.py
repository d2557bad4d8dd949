"""Reads files that may be compressed with gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ebbench.data import registry
from ebbench.errors import DataError
from ebbench.storage.files import cannot_read


def read_packed(path: Path, *, what: str, dataset: str) -> bytes:
    """The content of a file, decompressed if it is gzip.

    `what` names its format and `dataset` the data set to fetch, for messages. Raises `DataError` for
    truncated or altered gzip data, `StorageError` for a file that cannot be read.
    """
    raw = read(path)
    if raw[:2] != b"\x1f\x8b":
        return raw
    try:
        return gzip.decompress(raw)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise broken(path, f"the gzip data is broken: {error}", "a whole gzip file", what, dataset) from error


def read(path: Path) -> bytes:
    """The raw content of a file. Raises `StorageError` if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from error


def broken(path: Path, found: str, expected: str, what: str, dataset: str) -> DataError:
    """The error for an invalid data file: what was expected, and how to get a new copy."""
    fetched = f"fetch the file again: `ebbench data fetch {dataset}`"
    return DataError(
        f"{path.name} is no good {what} file: {found}",
        where=str(path),
        expected=expected,
        fix=fetched if registry.DATASETS[dataset].mirrors else "import it again: `ebbench data import PATH`",
    )
