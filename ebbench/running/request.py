"""The user's request, before anything is looked up."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ebbench.record.schema import Result


@dataclass(frozen=True, kw_only=True)
class Request:
    """The user's unresolved request: one task, one model, any number of seeds."""

    task: str
    model: str
    budget: str = "cpu"
    protocol: str = ""
    sampler: str = ""
    set: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def request_of(made: Result, *, model: str = "", sampler: str = "", protocol: str = "") -> Request:
    """The request that a result answers; `model` is the folder if its name is not sufficient."""
    old = made.sampler.name if made.sampler else ""
    settled = made.task.options | made.overrides
    if sampler and sampler != old:
        # Another sampler's knobs do not apply to this one.
        settled = {key: value for key, value in settled.items() if not key.startswith(f"{old}.")}
    name = model or made.model.name
    return Request(
        task=made.task.name,
        model=f"{name}:{made.model.variant}" if made.model.variant else name,
        budget=made.budget,
        protocol=protocol or made.task.protocol,
        sampler=sampler or old,
        set=settled,
    )
