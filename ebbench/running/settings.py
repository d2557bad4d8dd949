"""Settings of a run: where and how."""

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
    """Runs models in processes of their own; the engine's own trainer and sources serve all other models.

    A `context` is a `running.context.Context`, which contains these settings and so cannot be imported here.
    """

    def takes(self, spec: Spec) -> bool:
        """Whether the model of `spec` runs in a process of its own."""
        ...

    def train(
        self, context: Any, base: tuple[Model, dict[str, Any]] | None, log: Log
    ) -> tuple[Model, dict[str, Any]]:
        """As `trainer.train_part`; the returned model represents the one in the process."""
        ...

    def source(self, context: Any, model: Model) -> Source:
        """Samples and scores of a model returned by `train`."""
        ...

    def end(self) -> None:
        """End all remaining processes."""
        ...


@dataclass(frozen=True)
class Outcome:
    """A result, its file, and whether it existed before."""

    result: schema.Result
    path: Path
    existed: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where and how to run; nothing here may change a score.

    With `trainings` (hashes), only these are scored and nothing is trained; anything else is an error.
    """

    device: torch.device
    results: Path
    store: Store
    force: bool = False
    trainings: frozenset[str] | None = None
    # Where to keep what the task receives, by name (replay.py).
    record: dict[str, np.ndarray] | None = None
    reporter: Reporter = dataclasses.field(default_factory=Reporter)
    # Creates the logger of each training (loggers.py).
    logger: Factory | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    # Runs models that are not the project's own in processes of their own.
    apart: Apart | None = None
    # Seconds after which the work stops at its next safe point, unfinished.
    time_limit: float | None = None
    # Whether to wait for another process that works on the same training; else Stopped is raised.
    wait: bool = True
