"""Checks whether a data file is the published one, by its size and SHA-256 only."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

from ebbench.data.registry import Content
from ebbench.storage.files import cannot_read, look

BLOCK = 1 << 20

# Resolution of file times in nanoseconds: two seconds on the coarsest file systems. Changes within it may not
# show in a file's times.
_COARSE = 2_000_000_000

# Metadata of a file at the time that it was read and found valid.
_Stamp = tuple[int, int, int, int, int]
_good: dict[tuple[Path, Content], _Stamp] = {}


def check(path: Path, content: Content) -> str:
    """What is wrong with a file, found and expected; "" if nothing is. Reads the file.

    Raises `StorageError` if it cannot be read.
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
    """As `check`, but does not read a file again that this process found valid and that has not changed.

    Unchanged means the same device, inode, size, modification time and change time, all times older than two
    seconds when it was read. Nothing is remembered between processes, so that a disk fault is found by the
    next process.
    """
    before = _stamp(path)
    if before is not None and _good.get((path, content)) == before:
        return ""
    problem = check(path, content)
    if not problem and before is not None and before == _stamp(path) and _is_settled(before):
        _good[path, content] = before
    return problem


def measure(path: Path, limit: int) -> tuple[int, str]:
    """The size in bytes and the SHA-256 of a file; reads at most `limit` + 1 bytes, even of a growing file.

    Raises `StorageError` if it cannot be read.
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
    """What is at `path`, in words: "a folder", "a link to nothing", "a named pipe", ..."""
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
