"""The program of a model's process. It loads the plug-in, trains it, and answers requests of the engine.

    python -P -m ebbench.apart.child WIRE FILES SECONDS

WIRE is the file descriptor of an open socket. FILES and SECONDS are limits: the bytes of one file, and the
time (0: no limit). The engine tells the process shapes, settings, examples, and a seed for each purpose. If
the model is to learn classes, it also tells it the labels of the training examples. It never tells it the
task, the protocol, any other label, or the seed of the run.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench import contract
from ebbench.apart.offer import described
from ebbench.apart.wire import Ended, Message
from ebbench.apart.within import RemoteData, Seeds, Wire, WireLog, WireReporter
from ebbench.contract import DataSpec
from ebbench.device import pinned
from ebbench.errors import EbbenchError, PluginCrash, Stopped
from ebbench.plugins import introspection
from ebbench.plugins.configs import build_config, check_knobs, plain
from ebbench.plugins.guard import plugin_code
from ebbench.plugins.plugin import Plugin
from ebbench.running import seeds
from ebbench.running.sources import ModelSource
from ebbench.running.trainer import parameters_of
from ebbench.running.training import TrainingRun
from ebbench.storage import state

Reply = tuple[dict[str, Any], Mapping[str, np.ndarray], bytes]
# The maximum number of characters of a traceback that is sent to the engine.
_MOST_TRACE = 8_000


class Child:
    """Answers the engine's requests, one after another."""

    # "begin" and "build" set these before other requests need them.
    _spec: DataSpec
    _device: torch.device
    _plugin: Plugin
    _kept: set[str]

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._model: contract.Model | None = None
        self._sources: dict[int, ModelSource] = {}
        self._seeds: Callable[..., int] = lambda *purpose: 0
        self._requests: dict[str, Callable[[Message], Reply]] = {
            "describe": self._describe,
            "begin": self._begin,
            "build": self._build,
            "train": self._train,
            "draw": self._draw,
            "score": self._score,
        }

    def serve(self, until: str = "") -> Message:
        """Answer requests until a message of the kind `until` comes, and return that one. Raises Ended."""
        while True:
            asked = self._wire.receive()
            if asked.kind == until:
                return asked
            try:
                fields, arrays, blob = self._requests[asked.kind](asked)
            except Stopped as stopped:
                self._wire.send("done", stopped=str(stopped))
            except BaseException as error:
                self._wire.send("error", **_told(error))
            else:
                self._wire.send("done", arrays, blob, **fields)

    def _describe(self, asked: Message) -> Reply:
        return {"offer": described(Plugin("model", Path(asked.fields["folder"])).cls)}, {}, b""

    def _begin(self, asked: Message) -> Reply:
        fields = asked.fields
        self._device = torch.device(fields["device"])
        # Use a neutral name: the name of the task's data would give the task away.
        shape, low, high = tuple(fields["shape"]), fields["low"], fields["high"]
        self._spec = DataSpec(name="data", shape=shape, low=low, high=high, classes=fields["classes"])
        torch.set_num_threads(fields["threads"])
        # The engine does the same, and results must not depend on the process.
        torch.set_flush_denormal(True)
        return {}, {}, b""

    def _build(self, asked: Message) -> Reply:
        """Build a model on top of the previous one, if any. Load its state if the request has one."""
        fields, below = asked.fields, self._model
        self._plugin = plugin = Plugin("model", Path(fields["folder"]))
        config = build_config(plugin.cls.Config, fields["config"], f"settings of '{plugin.name}'")
        seeds.seed_everything(fields["seed"])
        with plugin_code(plugin, None, "__init__"):
            model: contract.Model = plugin.cls(self._spec, config)
        model.device = self._device
        if below is not None:
            model.base = below
        for net in introspection.nets(model).values():
            net.to(self._device)
        self._model = model
        self._kept = set(self._state())
        if fields["tree"] is not None:
            saved = state.unpack(fields["tree"], asked.blob, self._device)
            with plugin_code(plugin, None, "load_state_dict"):
                model.load_state_dict(saved)
            self._to_eval()
        return {"config": plain(config)}, {}, b""

    def _state(self) -> dict[str, Any]:
        assert self._model is not None
        with plugin_code(self._plugin, None, "state_dict"):
            return dict(self._model.state_dict())

    def _to_eval(self) -> None:
        assert self._model is not None
        for net in introspection.nets(self._model).values():
            net.eval()

    def _train(self, asked: Message) -> Reply:
        fields, model = asked.fields, self._model
        assert model is not None
        data = RemoteData(self._wire, self._spec, fields["examples"], self._device)
        if "labels" in asked.arrays:
            data.labels = torch.from_numpy(asked.array("labels").copy()).to(self._device)
        seeds.seed_everything(fields["seed"])
        run = TrainingRun(
            model,
            Path("training").absolute(),
            seed=Seeds(self._wire),
            device=self._device,
            stop=self._wire.stop,
            reporter=WireReporter(self._wire),
            checkpoint_seconds=fields["checkpoint_seconds"],
            curve_points=fields["curve_points"],
            evaluate=self._evaluate if fields["evaluates"] else None,
            most_evaluations=fields["most_evaluations"],
            logger=WireLog(self._wire) if fields["logs"] else None,
        )
        with plugin_code(self._plugin, None, "train"):
            model.train(data, run)
        run.finish()
        for name in set(self._state()) - self._kept:
            vars(model).pop(name, None)
        tree, blob = None, b""
        if model.keeps_state:
            tree, blob = state.pack({k: v for k, v in self._state().items() if k in self._kept})
        self._to_eval()
        told = {
            "steps": run.steps,
            "stopped_by": run.stopped_by,
            "as_graph": run.as_graph,
            "curves": vars(run.curves),
            "parameters": parameters_of(model),
            "tree": tree,
        }
        return told, {}, blob

    def _evaluate(self, step: int) -> Mapping[str, float]:
        """Let the engine evaluate the model during training.

        The engine sends requests for samples and scores until "go". It keeps the numbers to itself, so this
        returns none.
        """
        assert self._model is not None
        nets = introspection.nets(self._model).values()
        modes = {module: module.training for net in nets for module in net.modules()}
        self._to_eval()
        self._wire.send("evaluate", step=step)
        self.serve(until="go")
        for module, mode in modes.items():
            module.training = mode
        return {}

    def _source(self, asked: Message) -> ModelSource:
        """The source that draws and scores for one scoring. Each scoring gets a new one.

        A source detects repeated draws, and only those within one scoring count.
        """
        assert self._model is not None
        number, sampler = asked.fields["scoring"], asked.fields["sampler"]
        if number not in self._sources:
            method = introspection.samplers(self._plugin.cls).get(sampler)
            knobs = check_knobs(asked.fields["knobs"], method, f"knobs of '{sampler}'") if method else {}
            self._sources[number] = ModelSource(
                self._model,
                self._plugin,
                self._spec,
                seed=lambda *purpose: self._seeds(*purpose),
                device=self._device,
                sampler=sampler,
                knobs=knobs,
            )
        return self._sources[number]

    def _draw(self, asked: Message) -> Reply:
        fields = asked.fields
        self._seeds = lambda *purpose: int(fields["seed"])
        with pinned():
            drawn = self._source(asked).draw(fields["draw"], fields["number"], fields["count"])
        return {"diagnostics": dict(drawn.diagnostics)}, {"samples": drawn.values.cpu().numpy()}, b""

    def _score(self, asked: Message) -> Reply:
        seeds_of = asked.fields["seeds"]
        self._seeds = lambda word, name, *where: int(seeds_of[name])
        with pinned():
            found = self._source(asked).score(0, 0, torch.from_numpy(asked.array("x")), list(seeds_of))
        return {}, found, b""


def _told(error: BaseException) -> dict[str, Any]:
    """The fields of a message for an error. The engine raises it as one of its own error classes."""
    trace = "".join(traceback.format_exception(error.__cause__ or error))[-_MOST_TRACE:]
    if not isinstance(error, EbbenchError):
        what = f"{type(error).__name__}: {error}"
        return {"class": PluginCrash.__name__, "what": what, "trace": trace}
    words = {name: getattr(error, name) for name in ("what", "where", "expected", "fix")}
    return {
        **words,
        "class": type(error).__name__,
        "trace": trace if isinstance(error, PluginCrash) else "",
    }


def _limit(files: int, seconds: float) -> None:
    """Set the limits that the system enforces for each process. The engine watches the sum over children."""
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: files}
    if seconds:
        wanted[resource.RLIMIT_CPU] = int(seconds * (os.cpu_count() or 1)) + 1
    for which, most in wanted.items():
        _, hard = resource.getrlimit(which)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def main() -> None:
    """Answer requests on the socket that the command line names, until the engine closes its end."""
    number, files, seconds = sys.argv[1:4]
    os.set_inheritable(int(number), False)
    _limit(int(files), float(seconds))
    with contextlib.suppress(Ended):
        Child(Wire(socket.socket(fileno=int(number)))).serve()


if __name__ == "__main__":
    main()
