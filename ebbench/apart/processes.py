"""Keep each model in its own process. The task, the labels and the run's seed stay in the engine's process.

A run gives the same numbers as a run in the engine's process. The engine derives the seeds in the same way,
and sends each derived seed instead of the run's seed. There are two differences: the data have a neutral
name, and a Config whose code changes its values is refused.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ebbench import contract
from ebbench.apart.conversation import Before, Conversation, Stopping, Trained, trained
from ebbench.apart.offer import stand_in
from ebbench.apart.process import Limits, ModelProcess, removed
from ebbench.apart.source import ProcessSource
from ebbench.apart.told import text
from ebbench.apart.wire import MOST_PAYLOAD
from ebbench.data.labelled import labels_of
from ebbench.errors import ContractError, UsageError
from ebbench.isolation.box import why_not
from ebbench.plugins import loader
from ebbench.plugins.configs import plain
from ebbench.plugins.guard import plugin_code
from ebbench.running import trainer
from ebbench.running.context import Context
from ebbench.running.identity import evaluates
from ebbench.running.loggers import Log
from ebbench.running.progress import Reporter
from ebbench.running.spec import Spec
from ebbench.storage import state
from ebbench.storage.hashing import derive_seed

# Seconds that importing a model's class and describing its offer may take.
LOADING = 300.0


class Remote(contract.Model):
    """Stands in the engine for a model in another process.

    `below` is the model that it is built on. `saved` is its state, if known.
    """

    def __init__(self, context: Context, below: Remote | None, saved: Mapping[str, Any] | None) -> None:
        with plugin_code(context.spec.task, context.place, "spec"):
            super().__init__(context.task.spec(), context.spec.config)
        self.context, self.below, self.saved = context, below, saved
        self.process: ModelProcess | None = None

    @property
    def layers(self) -> list[Remote]:
        """The models that this one is built on, from the bottom up, and then this one."""
        return [*(self.below.layers if self.below is not None else []), self]


class Processes:
    """Keeps each model in its own process; with `boxed`, in a box. The engine has it as `Settings.apart`."""

    def __init__(self, *, boxed: bool, limits: Limits | None = None) -> None:
        self._boxed, self._limits = boxed, limits or Limits()
        self._known: dict[Path, loader.Plugin] = {}
        self._running: list[ModelProcess] = []
        self._scorings = 0

    def load(self, kind: loader.Kind, name: str) -> loader.Plugin:
        """Load a plug-in like `loader.load`, but run no code of a stranger's model in this process."""
        plugin = loader.load(kind, name)
        if kind == "task" or plugin.folder in loader.built_in("model").values():
            return plugin
        if plugin.folder not in self._known:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                scratch = Path(folder).resolve()
                (copy,) = _copied([plugin], scratch)
                limits = dataclasses.replace(self._limits, seconds=self._limits.seconds or LOADING)
                process = self._started(plugin, scratch, limits)
                try:
                    offer = process.ask("describe", folder=copy).fields.get("offer")
                    # Set the class as if the plug-in had been imported.
                    vars(plugin)["cls"] = process.checked(lambda: stand_in(offer))
                finally:
                    process.end()
                    self._running.remove(process)
            self._known[plugin.folder] = plugin
        return self._known[plugin.folder]

    def takes(self, spec: Spec) -> bool:
        """Whether the model runs in its own process: all but the project's own controls.

        Some of these controls must know things that a process is not told.
        """
        return not loader.is_own_control(spec.model)

    def train(
        self, context: Context, base: tuple[contract.Model, dict[str, Any]] | None, log: Log
    ) -> tuple[contract.Model, dict[str, Any]]:
        """Train one part like `trainer.train_part`, in its own process."""
        below = base[0] if base is not None else None
        assert below is None or isinstance(below, Remote)
        if below is not None:
            self._close(below)
        if (saved := trainer.stored(context)) is not None:
            return Remote(context, below, saved["model"]), trainer.with_base(saved["training"], base)
        keeps_state = context.spec.model.cls.keeps_state
        data, seen = trainer.data_of(context, keeps_state)
        model = Remote(context, below, None)
        made = self._train(model, data, log)
        record = trainer.record_of(context, made, made.parameters, base)
        if keeps_state:
            model.saved = made.state
            trainer.keep(context, made.state, record, seen)
            # As in `trainer.train_part`: a new process scores the stored state.
            self._close(model)
        trainer.clear(context)
        (context.place / "apart.json").unlink(missing_ok=True)
        return model, record

    def source(self, context: Context, model: contract.Model) -> ProcessSource:
        """The source of samples and scores from the process that has the model."""
        assert isinstance(model, Remote)
        process = model.process or self._opened(model)
        self._scorings += 1
        return ProcessSource(process, context, self._scorings)

    def end(self) -> None:
        """End every process, and remove its scratch folder."""
        for process in list(self._running):
            self._end(process)

    def _end(self, process: ModelProcess) -> None:
        process.end()
        self._running.remove(process)
        # An unfinished training continues later from the checkpoint that it saved there.
        if not process.unfinished:
            shutil.rmtree(process.scratch, ignore_errors=True)

    def _started(
        self,
        plugin: loader.Plugin,
        scratch: Path,
        limits: Limits,
        *,
        gpu: bool = False,
        log: Path | None = None,
    ) -> ModelProcess:
        process = ModelProcess(
            scratch,
            limits,
            boxed=self._boxed,
            name=f"model '{plugin.name}'",
            where=plugin.folder.name,
            gpu=gpu,
            log=log,
        )
        self._running.append(process)
        return process

    def _opened(self, model: Remote) -> ModelProcess:
        """Start the process of a model, build the model there with its state, and return the process."""
        context, spec = model.context, model.data
        scratch, device = context.place / "apart", context.settings.device
        log = context.place / "error.log"
        # Copy before the process starts: it could redirect the copy by a link.
        folders = _copied([layer.context.spec.model for layer in model.layers], scratch)
        gpu = device.type == "cuda"
        process = self._started(context.spec.model, scratch, self._limits, gpu=gpu, log=log)
        process.waiting = Stopping(context.stop, process)
        process.ask(
            "begin",
            shape=list(spec.shape),
            low=spec.low,
            high=spec.high,
            classes=spec.classes,
            device=str(device),
            threads=torch.get_num_threads(),
        )
        for folder, layer in zip(folders, model.layers, strict=True):
            own, config = layer.context.spec, plain(layer.context.spec.config)
            if layer is not model and layer.saved is None:
                raise UsageError(
                    f"{own.model.name} keeps no state, so a model in its own process cannot build on it",
                    where=own.model.folder.name,
                    fix="run it without --isolated, or choose another base",
                )
            tree, blob = (None, b"") if layer.saved is None else state.pack(layer.saved)
            answer = process.ask(
                "build",
                blob=blob,
                folder=folder,
                config=config,
                seed=derive_seed(context.seed, "model"),
                tree=tree,
            )
            if answer.fields.get("config") != config:
                raise ContractError(
                    f"the Config of model '{own.model.name}' changes the values that it is given",
                    where=f"{own.model.folder.name}/model.py",
                    expected="a Config that keeps its values: run ids are computed without its code",
                    fix="compute derived values in the model's __init__",
                )
        model.process = process
        return process

    def _close(self, model: Remote) -> None:
        """End the process of a model, if it has one. It gets a new one when it is asked again."""
        if model.process is not None:
            self._end(model.process)
            model.process = None

    def _train(self, model: Remote, data: contract.Data, log: Log) -> Trained:
        context = model.context
        before = Before(context.place / "apart.json")
        if not before.known:
            shutil.rmtree(context.place / "apart", ignore_errors=True)
        before.keep()
        process = self._opened(model)
        process.unfinished = True
        labels = labels_of(data)
        process.waiting = Stopping(context.stop, process, asks=True)
        talk = Conversation(context, model, data, process, before, log)
        safe, context.stop.safe_points = context.stop.safe_points, True
        try:
            answer = process.ask(
                "train",
                {} if labels is None else {"labels": labels.cpu().numpy()},
                most=MOST_PAYLOAD,
                handlers=talk.handlers,
                seed=derive_seed(context.seed, "train"),
                examples=len(data),
                checkpoint_seconds=context.settings.checkpoint_seconds,
                curve_points=trainer.curve_points(context),
                evaluates=evaluates(context.task),
                most_evaluations=context.task.most_evaluations,
                logs=log.on,
            )
        finally:
            context.stop.safe_points = safe
            talk.close()
        if "stopped" in answer.fields:
            # "stopped by SIGTERM: <where it stands>; the same command ..."
            raise context.stop.stopped(text(answer.fields["stopped"]).partition(": ")[2].partition(";")[0])
        process.unfinished = False
        process.waiting = Stopping(context.stop, process)
        return process.checked(lambda: trained(answer, before, context))


def processes(reporter: Reporter, *, unboxed: bool, seconds: float | None = None) -> Processes:
    """Return the object that keeps models in their own processes on this machine.

    Each process may take `seconds` in all. Raises UsageError if a box cannot be made here, unless `unboxed`.
    """
    if not unboxed and (reason := why_not()):
        raise UsageError(
            f"this machine cannot make a sandbox: {reason}",
            where="--isolated",
            expected="Linux 5.12 or later, and permission to make user namespaces",
            fix="run it on another machine, or give --unboxed: the model then runs in its own process, "
            "but it can read, write and send whatever you can",
        )
    kind = "WITHOUT a sandbox: it can do all that you can" if unboxed else "in a sandbox"
    reporter.note(f"the model runs in its own process, {kind}")
    return Processes(boxed=not unboxed, limits=Limits(seconds=seconds))


def _copied(plugins: Sequence[loader.Plugin], scratch: Path) -> list[str]:
    """Copy the folders of plug-ins to a scratch folder, in which no process may be running yet."""
    removed(scratch / "plugins")
    copies = []
    for number, plugin in enumerate(plugins):
        target = scratch / "plugins" / str(number) / plugin.folder.name
        # Copy links as links: a file outside that a link points to is not the model's.
        ignored = shutil.ignore_patterns("__pycache__", ".git", "*.pyc")
        shutil.copytree(plugin.folder, target, symlinks=True, ignore=ignored)
        copies.append(str(target))
    return copies
