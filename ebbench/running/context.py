"""What the trainer and the scorer of one part of a run have in common."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from ebbench import contract
from ebbench.errors import Stopped
from ebbench.plugins.configs import plain
from ebbench.record import provenance, schema
from ebbench.running import loggers
from ebbench.running.identity import Identity
from ebbench.running.progress import Reporter
from ebbench.running.settings import Settings
from ebbench.running.signals import BUSY, StopRequest
from ebbench.running.spec import Spec
from ebbench.storage.files import home


@dataclass(frozen=True, kw_only=True)
class Context:
    """One part of one run. `name` is the part's ("" for the only one), `parts` is how many there are."""

    spec: Spec
    task: contract.Task
    seed: int
    identity: Identity
    settings: Settings
    stop: StopRequest
    name: str = ""
    parts: int = 1

    @property
    def place(self) -> Path:
        """The folder of this training in the run store."""
        return home() / "runs" / self.identity.training

    @property
    def reporter(self) -> Reporter:
        """Who is told how far it is."""
        return self.settings.reporter

    def busy(self, note: str) -> None:
        """Another process is at this training: say so, or leave. Raises Stopped."""
        if not self.settings.wait:
            raise Stopped(f"another process is at this very training: {self.place.name[:10]}", BUSY)
        self.reporter.note(note)

    @property
    def training(self) -> loggers.Training:
        """What a logger is told of this training."""
        spec = self.spec
        words = [spec.budget, f"s{self.seed}", self.name, self.identity.training[:10]]
        return loggers.Training(
            task=spec.task.name,
            model=f"{spec.model.name}:{spec.variant}" if spec.variant else spec.model.name,
            budget=spec.budget,
            seed=self.seed,
            part=self.name,
            config=plain(spec.config),
            name=re.sub(r"[^A-Za-z0-9._+=-]", "_", "-".join(word for word in words if word)),
        )

    def below(self) -> Context:
        """The context of the training that this one is built on; there must be one."""
        assert self.spec.base is not None and self.identity.base is not None
        return dataclasses.replace(self, spec=self.spec.base, identity=self.identity.base)

    def provenance(self) -> schema.Provenance:
        """Where this process runs, by which code, on which data."""
        return provenance.collect(
            self.settings.device,
            dict(self.task.data_hashes),
            self.spec.model.code_hash,
            self.spec.command(self.seed),
        )
