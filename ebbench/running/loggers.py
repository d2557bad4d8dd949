"""Loggers: external trackers that follow a training. They cannot change a number.

A logger receives the curves' means per window, the evaluations, the pictures and the final metrics. A factory
makes one logger per training, from a description of the training.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ebbench.errors import UsageError, unknown
from ebbench.storage.files import absolute

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Training:
    """The description of a training for a logger's factory.

    `model` includes the variant ("wgan-gp:meg-authors"), `part` is "" if the task has no parts, `config`
    holds JSON values. `name` is short, valid as a file name, and unchanged if a training resumes.
    """

    task: str
    model: str
    budget: str
    seed: int
    part: str
    config: Mapping[str, Any]
    name: str


class Logger(Protocol):
    """Receives the events of one training. An exception in a logger disables it and ends no run."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name after `step` steps: means since the last call, or an evaluation."""

    def picture(self, name: str, pixels: np.ndarray) -> None:
        """A picture of the scoring, uint8 (height, width, 3)."""

    def done(self, metrics: Mapping[str, float]) -> None:
        """The last call, with the metrics; none if the training was stopped or only serves as a base."""


Factory = Callable[[Training], Logger]


class Log:
    """A training's logger as the engine calls it; without a logger every call does nothing.

    The logger is created at the first call, and random states are restored afterwards. The first exception is
    reported on stderr and disables the logger.
    """

    def __init__(self, make: Factory | None, training: Training) -> None:
        self._make, self._training = make, training
        self._logger: Logger | None = None

    @property
    def on(self) -> bool:
        """Whether there is a logger."""
        return self._make is not None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Forward numbers, as copies."""
        numbers = {name: float(value) for name, value in values.items()}
        self._call(lambda logger: logger.scalars(step, numbers))

    def done(self, pictures: Mapping[str, np.ndarray], metrics: Mapping[str, float]) -> None:
        """Forward the pictures, then the metrics as the last event."""
        numbers = {name: float(value) for name, value in metrics.items()}
        for name, pixels in pictures.items():
            self._call(partial(_picture, name=name, pixels=pixels.copy()))
        self._call(lambda logger: logger.done(numbers))
        self._make = None

    def close(self) -> None:
        """End a log that was not ended; does nothing if it never began."""
        if self._logger is not None:
            self.done({}, {})

    def _call(self, tell: Callable[[Logger], None]) -> None:
        if self._make is None:
            return
        # Imported here, because a logger is chosen before torch is loaded.
        from ebbench.running import seeds

        random = seeds.capture()
        try:
            if self._logger is None:
                self._logger = self._make(self._training)
            tell(self._logger)
        # Also SystemExit, because a logger must not end the run.
        except (Exception, SystemExit) as error:
            self._make = None
            said = f"the logger failed and is switched off: {type(error).__name__}: {error}"
            print(said, file=sys.stderr, flush=True)
        finally:
            seeds.restore(random)


def _picture(logger: Logger, *, name: str, pixels: np.ndarray) -> None:
    logger.picture(name, pixels)


@contextmanager
def opened(make: Factory | None, training: Training) -> Iterator[Log]:
    """Context with the log of one training; it ends without metrics unless the block ends it."""
    log = Log(make, training)
    try:
        yield log
    finally:
        log.close()


class TensorBoard:
    """A factory of TensorBoard event files, one folder per training, under `folder`."""

    def __init__(self, folder: Path | str = "logs") -> None:
        _require("tensorboard")
        self._folder = absolute(folder, "the folder of the logs")

    def __call__(self, training: Training) -> Logger:
        """The logger of a training."""
        from torch.utils.tensorboard import SummaryWriter

        place = self._folder / training.task / _file_name(training.model) / training.name
        return _TensorBoard(SummaryWriter(str(place)))


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        # Visible immediately, and complete on disk if the process is killed.
        self._writer.flush()

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self._writer.add_image(name, pixels, dataformats="HWC")

    def done(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(f"metrics/{name}", value)
        self._writer.close()


class WeightsAndBiases:
    """A factory of Weights & Biases runs, one per training, in `project`; `options` go to `wandb.init`."""

    def __init__(self, project: str = "ebbench", **options: Any) -> None:
        _require("wandb")
        self._options = {"project": project, **options}

    def __call__(self, training: Training) -> Logger:
        """The logger of a training; a resumed training continues its run."""
        wandb = importlib.import_module("wandb")
        settings = {
            "task": training.task,
            "model": training.model,
            "budget": training.budget,
            "seed": training.seed,
            "part": training.part,
            "config": dict(training.config),
        }
        names = {
            "name": f"{training.model} {training.name}",
            "group": f"{training.task} {training.model}",
            "id": training.name,
            "resume": "allow",
        }
        return _WeightsAndBiases(wandb, wandb.init(**names | {"config": settings} | self._options))


class _WeightsAndBiases:
    def __init__(self, wandb: Any, run: Any) -> None:
        self._wandb, self._run = wandb, run

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self._run.log({name: self._wandb.Image(pixels)})

    def done(self, metrics: Mapping[str, float]) -> None:
        self._run.summary.update(dict(metrics))
        self._run.finish()


class JsonLines:
    """A factory of JSON-lines files, one per training, under `folder`; a resumed training appends.

    A line is {"step": ..., "values": {...}}, or {"metrics": {...}} at the end. Pictures are omitted, and
    values that are not finite are null.
    """

    def __init__(self, folder: Path | str = "logs") -> None:
        self._folder = absolute(folder, "the folder of the logs")

    def __call__(self, training: Training) -> Logger:
        """The logger of a training."""
        place = self._folder / training.task / _file_name(training.model) / f"{training.name}.jsonl"
        place.parent.mkdir(parents=True, exist_ok=True)
        return _JsonLines(place)


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._path = path

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        # JSON has no NaN.
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._append({"step": step, "values": finite})

    def picture(self, name: str, pixels: np.ndarray) -> None:
        pass

    def done(self, metrics: Mapping[str, float]) -> None:
        self._append({"metrics": dict(metrics)})

    def _append(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


_NAMED = ("tensorboard", "wandb", "jsonl")


def named(name: str, folder: Path | str = "logs") -> Factory:
    """The factory called "tensorboard", "wandb" or "jsonl". Raises UsageError for another name.

    TensorBoard files and JSON lines go under `folder`; Weights & Biases has its own folder (WANDB_DIR).
    """
    if name not in _NAMED:
        raise unknown("logger", name, _NAMED, where="--log")
    if name == "wandb":
        return WeightsAndBiases()
    return TensorBoard(folder) if name == "tensorboard" else JsonLines(folder)


def _require(package: str) -> None:
    """Raise UsageError if an optional package is not installed."""
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise UsageError(
            f"the logger needs the package '{package}', which is not installed",
            where=f"--log {package}",
            expected="the optional packages of ebbench",
            fix=f"pip install 'ebbench[{package}]'",
        )


def _file_name(model: str) -> str:
    return model.replace(":", "+")
