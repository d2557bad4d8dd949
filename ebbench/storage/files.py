"""Files that are either old or new, never half of one; and where ebbench keeps its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds either the old or the new bytes, whole. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        # The write's own error is the one to report; a full disk may refuse the clean-up too.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def home() -> Path:
    """The folder of the run store and the data cache: EBBENCH_HOME, else the user's cache folder."""
    import platformdirs

    chosen = os.environ.get("EBBENCH_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("ebbench")
