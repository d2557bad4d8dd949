"""Whether a data file is the published one: by its size and its SHA-256, and nothing else."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

from ebbench.data.registry import Content
from ebbench.storage.files import cannot_read, look

BLOCK = 1 << 20

# Nanoseconds for which a file's times may stand still while it changes: two seconds on the coarsest file
# systems.
_COARSE = 2_000_000_000

# What a file was like when it was read and found good.
_Stamp = tuple[int, int, int, int, int]
_good: dict[tuple[Path, Content], _Stamp] = {}


def check(path: Path, content: Content) -> str:
    """What is wrong with a file, found and expected; "" if nothing is. The file is read.

    Raises `StorageError` when it cannot be read.
    """
    found = look(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return f"found {kind(path)}, expected a file of {content.size:,} bytes"
    if found.st_size != content.size:
        return f"found {found.st_size:,} bytes, expected {content.size:,}"
    size, sha256 = measure(path, limit=content.size)
    if size != content.size:
        return f"its size changes while it is read; expected {content.size:,} bytes"
    return "" if sha256 == content.sha256 else f"found SHA-256 {sha256}, expected {content.sha256}"


def recheck(path: Path, content: Content) -> str:
    """As `check`, but a file that this process has found good is not read again while it is the same.

    The same is: the same device, file number, size, time of change and time of its last new attribute, all
    older than two seconds when it was read. Nothing is remembered between processes, so that a fault of the
    disk stays hidden no longer than one of them lives.
    """
    before = _stamp(path)
    if before is not None and _good.get((path, content)) == before:
        return ""
    problem = check(path, content)
    if not problem and before is not None and before == _stamp(path) and _is_settled(before):
        _good[path, content] = before
    return problem


def measure(path: Path, limit: int) -> tuple[int, str]:
    """The size in bytes and the SHA-256 of a file; no more than `limit` + 1 bytes are read, however it grows.

    Raises `StorageError` when it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while size <= limit and (block := file.read(min(BLOCK, limit + 1 - size))):
                size += len(block)
                digest.update(block)
    except OSError as error:
        raise cannot_read(path, error) from error
    return size, digest.hexdigest()


def kind(path: Path) -> str:
    """What lies at `path`, in words: "a folder", "a link to nothing", "a named pipe", ..."""
    found = look(path)
    if found is None:
        return "a link to nothing" if os.path.islink(path) else "nothing"
    names = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return names.get(stat.S_IFMT(found.st_mode), "something else")


def _stamp(path: Path) -> _Stamp | None:
    found = look(path)
    if found is None:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_settled(stamp: _Stamp) -> bool:
    return max(stamp[3:]) + _COARSE < time.time_ns()
