"""A plug-in's code as it runs: whatever it raises is an error that names its line."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebbench.errors import EbbenchError, PluginCrash, Stopped
from ebbench.plugins import crash, loader
from ebbench.plugins.process import kept
from ebbench.storage.runstore import write


@contextmanager
def plugin_code(plugin: loader.Plugin, place: Path | None, method: str) -> Iterator[None]:
    """Run a plug-in's own code: what it raises becomes a PluginCrash, its traceback in a log in `place`.

    That holds for what ends a program too: `sys.exit`, `os._exit` and the like. The engine's own errors,
    Stopped and Ctrl-C pass. What the code prints goes to standard error, and what it changes of the process
    is put back (see `process.kept`). Blocks nest.
    """
    try:
        with kept(), _torch():
            yield
    except (EbbenchError, Stopped, KeyboardInterrupt):
        raise
    except BaseException as error:
        fix = "mend the line named above"
        if place is not None:
            write(place / "error.log", traceback.format_exc().encode("utf-8", "backslashreplace"))
            fix += f"; the whole traceback is in {place / 'error.log'}"
        raise PluginCrash(
            f"{method}() of {plugin.kind} '{plugin.name}' raised {crash.said(error)}",
            where=crash.fault(error, plugin.folder),
            fix=fix,
        ) from error


@contextlib.contextmanager
def _torch() -> Iterator[None]:
    """The settings of torch that a score would otherwise take over from a training before it."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
