"""Find the shapes on which a model is tried: those of the tasks that it can do and whose shape is known."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field

from ebbench import contract
from ebbench.data.store import Store
from ebbench.errors import EbbenchError
from ebbench.plugins import introspection, loader
from ebbench.plugins.guard import plugin_code


@dataclass(frozen=True)
class Shapes:
    """By the task's name: its shape (`specs`), the capability that it needs, and why a task is left out."""

    specs: dict[str, contract.DataSpec] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def shapes_for(model: loader.Plugin, task: str = "") -> Shapes:
    """The shapes of the tasks that the model can do, or of `task` alone. No data are needed.

    Raises PluginError if the model or the named task cannot be loaded, and UsageError if the folder that
    EBBENCH_DATA names does not exist.
    """
    found, store = Shapes(), Store(offline=True)
    able = introspection.capabilities(model.cls)
    for name in [task] if task else loader.names("task"):
        try:
            loaded = loader.load("task", name)
            cls = loaded.cls
            if cls.needs not in able:
                continue
            # Hide what a task prints about its data: the model is tried on noise.
            with plugin_code(loaded, None, "__init__"), contextlib.redirect_stderr(io.StringIO()):
                made: contract.Task = cls(cls.Options(), next(iter(cls.protocols)), store)
            with plugin_code(loaded, None, "spec"):
                found.specs[loaded.name] = made.spec()
            found.needs[loaded.name] = cls.needs
        # Leave out a broken task: the model is not to blame for it.
        except EbbenchError as error:
            if task:
                raise
            found.left_out[name] = error.what
    return found
