"""The shapes on which a model is tried: those of the tasks that it can do and whose shape can be told."""

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
    """By task: the shape, and what the task asks for; and why others are left out."""

    specs: dict[str, contract.DataSpec] = field(default_factory=dict)
    needs: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def shapes_for(model: loader.Plugin, task: str = "") -> Shapes:
    """The shapes of the tasks that the model can do, or of `task` alone. No data are needed.

    Raises PluginError where the model, or the named task, cannot be loaded, and UsageError where the folder
    that EBBENCH_DATA names is not there.
    """
    found, store = Shapes(), Store(offline=True)
    able = introspection.capabilities(model.cls)
    for name in [task] if task else loader.names("task"):
        try:
            loaded = loader.load("task", name)
            cls = loaded.cls
            if cls.needs not in able:
                continue
            # What a task says of the data that it would score by is nothing to a model on noise.
            with plugin_code(loaded, None, "__init__"), contextlib.redirect_stderr(io.StringIO()):
                made: contract.Task = cls(cls.Options(), next(iter(cls.protocols)), store)
            with plugin_code(loaded, None, "spec"):
                found.specs[loaded.name] = made.spec()
            found.needs[loaded.name] = cls.needs
        # Somebody's broken task is no fault of this model.
        except EbbenchError as error:
            if task:
                raise
            found.left_out[name] = error.what
    return found
