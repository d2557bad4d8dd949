"""The engine's side of a training in another process: answer its questions, and measure its time."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench import contract
from ebbench.apart import told
from ebbench.apart.process import Handlers, ModelProcess
from ebbench.apart.wire import BadMessage, Message
from ebbench.apart.within import MOST_ROWS, SEEDS_AT_ONCE
from ebbench.device import shared_gpu
from ebbench.errors import ContractError
from ebbench.plugins.guard import plugin_code
from ebbench.running import trainer
from ebbench.running.context import Context
from ebbench.running.curves import Curves
from ebbench.running.loggers import Log
from ebbench.running.signals import StopRequest
from ebbench.storage import state
from ebbench.storage.hashing import derive_seed
from ebbench.storage.runstore import write

# Seconds that a process has to save its state after the request to stop.
GRACE = 20.0


@dataclass(frozen=True)
class Trained:
    """What is known of a finished training. The engine itself measured its time and its evaluations."""

    steps: int
    stopped_by: str
    shared: bool
    as_graph: bool
    seconds: float
    curves: Curves
    evaluations: Curves
    parameters: int
    state: Mapping[str, Any]


class Before:
    """The seconds and the evaluations of an unfinished training, which the engine keeps in a file.

    `known` says whether the file existed, so that the training continues an earlier one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.known = path.exists()
        self.seconds, self.evaluations = 0.0, Curves()
        if self.known:
            saved = json.loads(path.read_bytes())
            self.seconds, self.evaluations = saved["seconds"], Curves(**saved["evaluations"])

    def keep(self) -> None:
        """Write the seconds and evaluations to the file. Raises StorageError."""
        kept = {"seconds": self.seconds, "evaluations": dataclasses.asdict(self.evaluations)}
        write(self._path, json.dumps(kept).encode())

    def evaluated(self, step: int, values: Mapping[str, float]) -> None:
        """Add an evaluation after `step` steps.

        Earlier evaluations at this step or later are dropped: the training has gone back to a checkpoint and
        repeats these steps.
        """
        old, self.evaluations = self.evaluations, Curves()
        for at, (then, seconds) in enumerate(zip(old.step, old.seconds, strict=True)):
            if then < step:
                found = {name: points[at] for name, points in old.series.items()}
                self.evaluations.add(then, seconds, {k: v for k, v in found.items() if v is not None})
        self.evaluations.add(step, self.seconds, values)


class Conversation:
    """Answers the questions of a training: for examples, for the seeds of batches, and for evaluations."""

    def __init__(
        self,
        context: Context,
        model: contract.Model,
        data: contract.Data,
        process: ModelProcess,
        before: Before,
        log: Log,
    ) -> None:
        self._context, self._model, self._data = context, model, data
        self._process, self._before, self._log = process, before, log
        self._notes, self._shown = told.MOST_NOTES, False
        self._began = time.perf_counter()
        self.handlers: Handlers = {
            "rows": self._rows,
            "seeds": self._seeds,
            "evaluate": self._evaluate,
            "note": self._note,
            "stage": self._stage,
            "progress": self._progress,
            "scalars": self._scalars,
        }

    def close(self) -> None:
        """Save the time and the evaluations of the training after it has ended in any way."""
        self._count()
        self._before.keep()
        if self._shown:
            self._context.reporter.end()

    def _count(self) -> None:
        now = time.perf_counter()
        self._before.seconds += now - self._began
        self._began = now

    def _rows(self, message: Message) -> None:
        index, n = message.array("index"), len(self._data)
        size = 4 * math.prod(self._data.spec.shape)
        if index.dtype != np.int64 or index.ndim != 1 or len(index) > max(1, MOST_ROWS // size):
            raise BadMessage(f"a request for examples with an index of {index.dtype} {index.shape}")
        outside = index[(index < -n) | (index >= n)]
        if len(outside):
            raise ContractError(
                f"the model asks for example {outside[0]}",
                where=self._context.spec.model.folder.name,
                expected=f"an index from 0 to {n - 1}",
            )
        with plugin_code(self._context.spec.task, self._context.place, "data"):
            rows = self._data[torch.from_numpy(index).to(self._data.device)]
        self._process.send("rows", {"rows": rows.float().cpu().numpy()})

    def _seeds(self, message: Message) -> None:
        what = message.fields.get("what")
        # The model may ask for no other seeds. Those of the task must stay unknown to it.
        if what not in ("batch", "epoch"):
            raise BadMessage("a request for seeds with an unknown purpose")
        loop, begin = message.count("loop"), message.count("begin")
        numbers = range(begin, begin + SEEDS_AT_ONCE)
        derived = [derive_seed(self._context.seed, what, loop, number) for number in numbers]
        self._process.send("seeds", {"seeds": np.asarray(derived, np.int64)})

    def _evaluate(self, message: Message) -> None:
        step = message.count("step")
        self._count()
        found = trainer.evaluation(self._context, self._model, step)
        values = {name: float(value) for name, value in found.items()}
        # The time of an evaluation does not count as training time.
        self._began = time.perf_counter()
        self._before.evaluated(step, values)
        self._before.keep()
        if self._log.on and values:
            self._log.scalars(step, {f"evaluation/{name}": value for name, value in values.items()})
        # The process is not told the numbers: a model that chooses its scores could deduce the labels.
        self._process.send("go")

    def _note(self, message: Message) -> None:
        self._notes -= 1
        if self._notes > 0:
            self._context.reporter.note(told.text(message.fields.get("text")))

    def _stage(self, message: Message) -> None:
        if self._shown:
            self._context.reporter.end()
        self._shown = True
        self._context.reporter.begin("training", message.count("total"), message.count("done"))

    def _progress(self, message: Message) -> None:
        if self._shown:
            values = told.numbers(message.fields.get("values"))
            self._context.reporter.update(message.count("done"), values)

    def _scalars(self, message: Message) -> None:
        self._log.scalars(message.count("step"), told.numbers(message.fields.get("values")))


class Stopping:
    """Checks, while the engine waits for a process, whether the work is to stop.

    With `asks`, the process gets a request to stop. After `GRACE` seconds it is ended.
    """

    def __init__(self, stop: StopRequest, process: ModelProcess, *, asks: bool = False) -> None:
        self._stop, self._process, self._asks = stop, process, asks
        self._until: float | None = None

    def __call__(self) -> None:
        """Raise Stopped if the process has not stopped by itself in time."""
        if not self._stop.asked:
            return
        if self._until is None:
            self._until = time.monotonic() + GRACE
        # The time runs even if the request cannot be sent, because the process does not read its messages.
        if self._asks and not self._process.busy:
            self._asks = False
            self._process.send("stop")
        if time.monotonic() > self._until:
            self._process.end()
            raise self._stop.stopped("the model's process did not stop by itself, so ebbench ended it")


def trained(answer: Message, before: Before, context: Context) -> Trained:
    """Check and return what a process says at the end of a training. Raises BadMessage."""
    stopped_by, tree = answer.fields.get("stopped_by"), answer.fields.get("tree")
    if stopped_by not in ("none", "steps"):
        raise BadMessage("a training with an unknown reason to stop")
    kept: Mapping[str, Any] = {}
    if context.spec.model.cls.keeps_state:
        if not isinstance(tree, str):
            raise BadMessage("a trained model without its state")
        try:
            kept = state.unpack(tree, answer.blob)
        except ValueError as error:
            raise BadMessage(f"a trained model whose state cannot be read: {error}") from error
    return Trained(
        steps=answer.count("steps"),
        stopped_by=stopped_by,
        shared=shared_gpu(context.settings.device),
        as_graph=answer.fields.get("as_graph") is True,
        seconds=before.seconds,
        curves=told.curves(answer.fields.get("curves")),
        evaluations=before.evaluations,
        parameters=answer.count("parameters"),
        state=kept,
    )
