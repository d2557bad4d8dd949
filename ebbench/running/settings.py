"""Where and how to run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from ebbench.data.store import Store
from ebbench.record import schema
from ebbench.running.loggers import Factory
from ebbench.running.progress import Reporter
from ebbench.running.training import CHECKPOINT_SECONDS

if TYPE_CHECKING:
    from ebbench.contract import Model
    from ebbench.running.loggers import Log
    from ebbench.running.sources import Source
    from ebbench.running.spec import Spec


class Apart(Protocol):
    """What keeps a model in a process of its own. The engine's own trainer and sources are for all others.

    A `context` is a `running.context.Context`, which holds these settings: it cannot be named here.
    """

    def takes(self, spec: Spec) -> bool:
        """Whether the model of `spec` has a process of its own."""
        ...

    def train(
        self, context: Any, base: tuple[Model, dict[str, Any]] | None, log: Log
    ) -> tuple[Model, dict[str, Any]]:
        """As `trainer.train_part`; the model that comes back stands for the one in the process."""
        ...

    def source(self, context: Any, model: Model) -> Source:
        """Samples and scores of a model that `train` gave."""
        ...

    def end(self) -> None:
        """End every process that is left."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A result, where it is, and whether it was there before."""

    result: schema.Result
    path: Path
    existed: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where and how to run; nothing here may move a score.

    With `trainings`, hashes, none but these is scored and nothing is trained; all else is an error.
    """

    device: torch.device
    results: Path
    store: Store
    force: bool = False
    trainings: frozenset[str] | None = None
    # Where to keep what the task is given, by name (replay.py).
    record: dict[str, np.ndarray] | None = None
    reporter: Reporter = dataclasses.field(default_factory=Reporter)
    # Makes the logger of each training (loggers.py).
    logger: Factory | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    # Keeps models that are not ours in processes of their own.
    apart: Apart | None = None
    # Seconds after which the work stops at its next safe point and stays undone.
    time_limit: float | None = None
    # Whether to wait for another process that is at the same training; else Stopped is raised.
    wait: bool = True
