"""Imports the user's data files: recognises them by content and copies them into the cache."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, NamedTuple

from ebbench.data import registry
from ebbench.data.cache import arriving, opened, place, write
from ebbench.data.checking import BLOCK, check, kind, measure
from ebbench.data.registry import Content, DataFile, Dataset
from ebbench.errors import DataError
from ebbench.storage.files import absolute, cannot_read, look

# Exceptions that reading a truncated or altered gzip file raises.
BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """One imported file: its origin and its place in the cache."""

    dataset: str
    file: str
    origin: Path
    path: Path


class _Known(NamedTuple):
    """One form of a published file: the name it is stored under, and its required content."""

    entry: Dataset
    file: DataFile
    name: str
    content: Content


def import_path(path: Path, cache: Path) -> list[Imported]:
    """Copy the data files in `path` (a file, or a folder and everything below it) into the folder `cache`.

    Files are recognised by content, not by name: as published, decompressed, or compressed again. Raises
    `DataError` if nothing is recognised, `StorageError` for files that cannot be read or written.
    """
    path = absolute(path, "the path to import")
    found = look(path)
    if found is None or not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise DataError(
            "there is nothing to import",
            where=f"{path}: {kind(path)}",
            expected="a data file or a folder of them",
            fix="give the path of one",
        )
    folder = stat.S_ISDIR(found.st_mode)
    candidates = list(_files_below(path)) if folder else [path]
    imported = [one for candidate in candidates if (one := _import_file(candidate, cache))]
    if not imported:
        said = f"{len(candidates):,} files, none of them known" if folder else _described(path)
        raise DataError(
            f"nothing in {path} is a known data file: {said}",
            where=str(path),
            expected=f"a file of one of the data sets {', '.join(registry.DATASETS)}, packed or unpacked",
            fix="compare its size and SHA-256 with `ebbench data list NAME --json`; "
            "fetch the file again if it was cut short or altered",
        )
    return imported


def _import_file(path: Path, cache: Path) -> Imported | None:
    known = _recognise(path)
    if known is None:
        return None
    target = cache / known.entry.name / known.name
    try:
        with arriving(target) as part:
            with opened(part) as file, _opened(path, unpack=known.name != known.file.name) as source:
                _copy(source, file, path, limit=known.content.size)
            if problem := check(part, known.content):
                raise DataError(
                    "the file changed while it was copied",
                    where=str(path),
                    expected=f"the file as it was recognised; {problem}",
                    fix="give the command again when nothing writes to the file any more",
                )
            place(part, target)
    except OSError as error:
        raise cannot_read(path, error) from error
    return Imported(dataset=known.entry.name, file=known.file.name, origin=path, path=target)


def _files_below(folder: Path) -> Iterator[Path]:
    """The regular files in a folder and below it, sorted by path; links are followed to files only."""

    def refuse(error: OSError) -> None:
        raise cannot_read(Path(error.filename), error) from error

    found = [Path(at, name) for at, _, names in os.walk(folder, onerror=refuse) for name in names]
    for path in sorted(found):
        # Pipes and devices have no end, and a link may be broken.
        if (seen := look(path)) is not None and stat.S_ISREG(seen.st_mode):
            yield path


def _recognise(path: Path) -> _Known | None:
    """Which data file this is, by its content; None if it is not one."""
    forms = _forms()
    largest = max(forms, default=0)
    found = look(path)
    if found is None:
        return None
    if here := forms.get(found.st_size):
        _, sha256 = measure(path, limit=found.st_size)
        for known in here:
            if known.content.sha256 == sha256:
                return known
    # Compressed again: different bytes, same content.
    if found.st_size <= 2 * largest and (unpacked := _measure_unpacked(path, limit=largest)):
        for known in forms.get(unpacked.size, []):
            if known.content == unpacked:
                return known
    return None


def _forms() -> dict[int, list[_Known]]:
    """Every form of every file, by its size in bytes."""
    forms: dict[int, list[_Known]] = {}
    for entry in registry.DATASETS.values():
        for file in entry.files:
            for name, content in file.forms.items():
                forms.setdefault(content.size, []).append(_Known(entry, file, name, content))
    return forms


def _measure_unpacked(path: Path, limit: int) -> Content | None:
    """Size and hash of a gzip file's content; None if it is not gzip, broken, or larger than `limit`."""
    digest, size = hashlib.sha256(), 0
    try:
        if not _is_gzip(path):
            return None
        with gzip.open(path, "rb") as file:
            while size <= limit and (block := file.read(BLOCK)):
                size += len(block)
                digest.update(block)
    except BROKEN:
        return None
    except OSError as error:
        raise cannot_read(path, error) from error
    return None if size > limit else Content(size=size, sha256=digest.hexdigest())


def _copy(source: IO[bytes], file: FileIO, path: Path, limit: int) -> None:
    """Copy at most `limit` bytes and one block; a truncated copy is detected when it is checked."""
    size = 0
    try:
        while size <= limit and (block := source.read(BLOCK)):
            size += len(block)
            write(file, block)
    except BROKEN:
        return
    except OSError as error:
        raise cannot_read(path, error) from error


def _opened(path: Path, *, unpack: bool) -> IO[bytes]:
    """The bytes of a file, decompressed while reading if it is compressed and `unpack` is set."""
    if unpack and _is_gzip(path):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _described(path: Path) -> str:
    """A file in words: its size, and its SHA-256 unless it is larger than the largest data file."""
    size, sha256 = measure(path, limit=max(_forms(), default=0))
    found = look(path)
    if found is not None and found.st_size == size:
        return f"{size:,} bytes, SHA-256 {sha256}"
    return "it is larger than any of them"
