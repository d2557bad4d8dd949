"""A plug-in's code as it runs: whatever it raises is an error that names its line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebbench.errors import EbbenchError, PluginCrash, Stopped
from ebbench.plugins import crash, loader
from ebbench.storage.runstore import write


@contextmanager
def plugin_code(plugin: loader.Plugin, place: Path | None, method: str) -> Iterator[None]:
    """Turn whatever a plug-in's own code raises into a PluginCrash, its traceback in a log in `place`."""
    try:
        yield
    except (EbbenchError, Stopped):
        raise
    except Exception as error:
        fix = "mend the line named above"
        if place is not None:
            write(place / "error.log", traceback.format_exc().encode())
            fix += f"; the whole traceback is in {place / 'error.log'}"
        raise PluginCrash(
            f"{method}() of {plugin.kind} '{plugin.name}' raised {type(error).__name__}: {error}",
            where=crash.fault(error, plugin.folder),
            fix=fix,
        ) from error
