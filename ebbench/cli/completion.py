"""Shell completion of task and model names: the names of folders, no plug-in is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ebbench.plugins.plugin import Kind


def task_names(incomplete: str) -> list[str]:
    """The tasks whose names begin so, or the folders whose paths do."""
    return _names("task", incomplete)


def model_names(incomplete: str) -> list[str]:
    """The models whose names begin so, or the folders whose paths do."""
    return _names("model", incomplete)


def _names(kind: Kind, incomplete: str) -> list[str]:
    from ebbench.errors import EbbenchError
    from ebbench.plugins import loader

    if incomplete.startswith(("/", ".", "~")):
        folder, slash, begun = incomplete.rpartition("/")
        if not slash:
            return []
        try:
            inside = [path for path in Path(folder or "/").expanduser().iterdir() if path.is_dir()]
        except (OSError, ValueError, RuntimeError):
            # No such folder: nothing completes it.
            return []
        return sorted(f"{folder}/{path.name}" for path in inside if path.name.startswith(begun))
    try:
        return [name for name in loader.names(kind) if name.startswith(incomplete)]
    except EbbenchError:
        # A message would stand in the middle of what is being typed; the command itself will say it.
        return []
