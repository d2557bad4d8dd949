"""Files that are either old or new, never half of one; paths that can be used; and ebbench's own home."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from ebbench.errors import StorageError, UsageError

# Bytes of a file's own name that its temporary one repeats: a name has 255 at most.
_KEPT = 150
# What must hold for this process to write at all.
_guards: list[Callable[[], None]] = []


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either the old or the new bytes, whole.

    Raises OSError, and StorageError where this process no longer holds what it writes to (`guarded`).
    """
    temporary = path.with_name(_temporary(path.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        for check in tuple(_guards):
            check()
        os.replace(temporary, path)
    # An interruption leaves no half file either.
    except BaseException:
        # The write's own error is the one to report; a full disk may refuse the clean-up too.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def guarded(check: Callable[[], None]) -> Iterator[None]:
    """Within the block `check` is called before any file takes its final name; it raises to forbid that."""
    _guards.append(check)
    try:
        yield
    finally:
        _guards.remove(check)


def home() -> Path:
    """The folder of the run store and the data cache, from the root; it need not exist yet.

    It is EBBENCH_HOME, else the user's cache folder. A relative EBBENCH_HOME is taken from the working
    directory of its first use in the process: a plug-in that changes the directory does not move it.
    Raises `StorageError` for a folder that cannot be.
    """
    chosen = os.environ.get("EBBENCH_HOME")
    if not chosen:
        return _users_home()
    try:
        path = Path(chosen).expanduser()
        return _possible(path if path.is_absolute() else _from_here(path))
    except (RuntimeError, OSError) as error:
        raise StorageError(
            f"EBBENCH_HOME cannot be used: {_reason(error)}",
            where=f"EBBENCH_HOME={chosen}",
            expected="a folder that can be written",
            fix="set EBBENCH_HOME to one, as a path from the root",
        ) from error


def absolute(path: Path | str, label: str) -> Path:
    """A path that the user gave, from the root and with `~` replaced; nothing need be there.

    `label` says where it was given ("--data-dir"). Raises `UsageError` for a path that can be none: a user's
    home that is not known (`~nobody/x`), a NUL, a name too long, a circle of links.
    """
    try:
        return _possible(Path(path).expanduser().absolute())
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(
            f"{label} names a path that cannot be: {_reason(error)}",
            where=f"{label} {str(path)!r}",
            expected="the path of a file or a folder",
            fix="give another path",
        ) from error


def look(path: Path) -> os.stat_result | None:
    """What is at `path`, links followed; None where there is nothing, or links that lead in a circle.

    Raises `StorageError` where that cannot be told, as in a folder that the user may not enter.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            return None
        raise cannot_read(path, error) from error


def cannot_read(path: Path, error: Exception) -> StorageError:
    """The error for a file or folder of the user that cannot be read."""
    return StorageError(
        f"cannot read {path.name or path}: {_reason(error)}",
        where=str(path),
        expected="a file or a folder that you may read",
        fix="change its permissions, or name another",
    )


def _temporary(name: str) -> str:
    """A name that no other process takes, also on another machine that shares the folder."""
    host = platform.node()[:20]
    kept = name.encode(errors="surrogateescape")[:_KEPT].decode(errors="ignore")
    return f".{kept}.{host}-{os.getpid()}-{os.urandom(4).hex()}.tmp"


def _users_home() -> Path:
    import platformdirs

    problem = "this user has no home directory that is known"
    try:
        path = platformdirs.user_cache_path("ebbench")
        if path.is_absolute():
            return path
    except RuntimeError as error:
        problem = _reason(error)
    raise StorageError(
        f"ebbench finds no folder for its own files: {problem}",
        where="EBBENCH_HOME and HOME are not set",
        expected="a folder for the run store and the data cache",
        fix="set EBBENCH_HOME to a folder that can be written",
    )


def _possible(path: Path) -> Path:
    """The path itself. OSError or ValueError for one that the system takes for none, whatever is there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        path.stat()
    return path


@functools.cache
def _from_here(path: Path) -> Path:
    return path.absolute()


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        if error.errno == errno.ENOENT:
            return "the working directory is gone"
        return error.strerror or str(error)
    return str(error).rstrip(".")
