"""Write files atomically, check paths, and find the folder where ebbench keeps its own files."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from ebbench.errors import StorageError, UsageError

# How many bytes of a file's name its temporary file's name repeats. A name may have at most 255 bytes.
_KEPT = 150
# The checks that must pass before this process writes any file.
_guards: list[Callable[[], None]] = []


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that `path` always holds either all the old bytes or all the new ones.

    Raises OSError, and the error of a check of `guarded` (StorageError for a lock that was lost).
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
    # Also after an interruption, no temporary file may be left.
    except BaseException:
        # A full disk may refuse the clean-up too. The error to report is the first one.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def guarded(check: Callable[[], None]) -> Iterator[None]:
    """Within this context, call `check` before any file gets its final name. It raises to forbid that."""
    _guards.append(check)
    try:
        yield
    finally:
        _guards.remove(check)


def home() -> Path:
    """The folder of the run store and the data cache, as an absolute path. It need not exist yet.

    It is EBBENCH_HOME, or else a folder in the user's cache folder. A relative EBBENCH_HOME is taken from the
    working directory at its first use in the process. So a plug-in that changes the directory does not move
    it. Raises `StorageError` if the path is impossible.
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
            fix="set EBBENCH_HOME to an absolute path of such a folder",
        ) from error


def absolute(path: Path | str, label: str) -> Path:
    """A path that the user gave, made absolute, with `~` expanded. It need not exist.

    `label` says where it was given ("--data-dir"). Raises `UsageError` for an impossible path: an unknown
    user's home (`~nobody/x`), a NUL, a name that is too long, or a circle of links.
    """
    try:
        return _possible(Path(path).expanduser().absolute())
    except (RuntimeError, ValueError, OSError) as error:
        raise UsageError(
            f"{label} names an impossible path: {_reason(error)}",
            where=f"{label} {str(path)!r}",
            expected="the path of a file or a folder",
            fix="give another path",
        ) from error


def look(path: Path) -> os.stat_result | None:
    """The status of the file at `path`, with links followed. None if nothing is there, or a circle of links.

    Raises `StorageError` if that cannot be told, for example in a folder that the user may not enter.
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
    """A name that no other process uses, not even on another machine that shares the folder."""
    host = platform.node()[:20]
    kept = name.encode(errors="surrogateescape")[:_KEPT].decode(errors="ignore")
    return f".{kept}.{host}-{os.getpid()}-{os.urandom(4).hex()}.tmp"


def _users_home() -> Path:
    import platformdirs

    problem = "the home directory of this user is unknown"
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
    """Return the path. Raises OSError or ValueError if the system accepts no such path."""
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
