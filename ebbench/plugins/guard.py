"""Run a plug-in's code so that whatever it raises becomes an error that names its line."""

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
    """Run a plug-in's code within this context. An error that it raises becomes a PluginCrash.

    The traceback goes to a log in `place`, unless that is None. Calls that end a program, such as `sys.exit`
    and `os._exit`, become a PluginCrash too. Errors of the engine, Stopped and Ctrl-C pass unchanged. Output
    goes to standard error. Changes to the process are undone (see `process.kept`). Contexts may be nested.
    """
    try:
        with kept(), _torch():
            yield
    except (EbbenchError, Stopped, KeyboardInterrupt):
        raise
    except BaseException as error:
        fix = "correct the line named above"
        if isinstance(error, AttributeError) and method not in ("__init__", "train"):
            # The most common reason: the model that is scored is not the object that was trained.
            fix += "; if train() sets the attribute, it must be in state_dict(): a fresh model, "
            fix += "which has loaded the stored state, is scored"
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
    """Restore torch's default dtype and gradient mode. Otherwise a training could change later scores."""
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
