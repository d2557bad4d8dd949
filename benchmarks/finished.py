"""Read a finished run for a benchmark: its result, its trained model, and its samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ebbench import contract
from ebbench.data.store import Store
from ebbench.errors import EbbenchError
from ebbench.plugins import introspection
from ebbench.record.resultfiles import find
from ebbench.record.schema import Result
from ebbench.running import seeds, spec
from ebbench.running.request import request_of
from ebbench.storage import state
from ebbench.storage.files import home
from ebbench.storage.hashing import derive_seed

CHUNK = 1000


@dataclass(frozen=True)
class Finished:
    """A result, the task and model that made it, and the trained model on the CPU."""

    made: Result
    resolved: spec.Spec
    task: Any
    model: contract.Model

    def draws(self, n: int) -> Iterator[Tensor]:
        """`n` samples in chunks, before any rounding, from the seeds of the result's scoring."""
        draw = introspection.samplers(self.resolved.model.cls)[self.resolved.sampler]
        for number, begin in enumerate(range(0, n, CHUNK)):
            seeds.seed_everything(
                derive_seed(self.made.seed, "sample", self.resolved.sampler, "samples", number)
            )
            yield draw(self.model, min(CHUNK, n - begin), **self.resolved.knobs)


def finished(run: str, results: Path, task: str) -> Finished:
    """The run of `task` that `run` (a file or a run id) names. Exit if it cannot be loaded."""
    try:
        made = find(run, results)
    except EbbenchError as error:
        raise SystemExit(str(error)) from error
    if made.task.name != task:
        raise SystemExit(f"{run} is a run of {made.task.name}; one of {task} is expected")
    stored = home() / "runs" / made.training.hash / "state.json"
    if not stored.exists():
        command = made.training.provenance.command
        raise SystemExit(f"{run}: its trained state is not in the run store {home()}; `{command}` makes it")
    resolved = spec.resolve(request_of(made))
    if resolved.model.code_hash != made.model.code_hash:
        raise SystemExit(f"{run}: the code of {made.model.name} has changed since it was made")
    if resolved.base is not None:
        raise SystemExit(
            f"{run} builds on a trained {resolved.base.model.name}; a run that stands alone is expected"
        )
    chosen: Any = resolved.task.cls(resolved.options, resolved.protocol, Store(None))
    model: contract.Model = resolved.model.cls(chosen.spec(), resolved.config)
    model.device = torch.device("cpu")
    model.load_state_dict(state.load(stored)["model"])
    for part in vars(model).values():
        if isinstance(part, nn.Module):
            part.eval()
    return Finished(made, resolved, chosen, model)
