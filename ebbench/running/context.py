"""What trainer and scorer of one part of a run share."""

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
    """One part of one run. `name` is the part's name ("" for the only one), `parts` the number of parts."""

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
        """The reporter of progress."""
        return self.settings.reporter

    def busy(self, note: str) -> None:
        """Another process works on this training: show `note` if we may wait, else raise Stopped."""
        if not self.settings.wait:
            raise Stopped(f"another process is running this training: {self.place.name[:10]}", BUSY)
        self.reporter.note(note)

    @property
    def training(self) -> loggers.Training:
        """The description of this training for loggers."""
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
        """The context of the base's training; there must be a base."""
        assert self.spec.base is not None and self.identity.base is not None
        return dataclasses.replace(self, spec=self.spec.base, identity=self.identity.base)

    def provenance(self) -> schema.Provenance:
        """The provenance of this process: machine, code and data."""
        return provenance.collect(
            self.settings.device,
            dict(self.task.data_hashes),
            self.spec.model.code_hash,
            self.spec.command(self.seed),
        )
