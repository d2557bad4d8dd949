"""Read the `[executor]` table of a plan or profile: where the runs of a sweep are executed, and with what."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbench.errors import UsageError
from ebbench.running.words import parse_duration
from ebbench.sweeps.tables import checked, read_toml

KINDS = ("local", "slurm", "ray")


class _Table(BaseModel):
    """The `[executor]` table."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["local", "slurm", "ray"] | None = None
    workers: int | None = Field(default=None, ge=1)
    cores: int | None = Field(default=None, ge=1, le=1024)
    gpus: float | int = Field(default=0, ge=0, le=64)
    partition: str = ""
    time: str = "4h"
    notice: int = Field(default=120, ge=1)
    memory: float | int = Field(default=0, ge=0)
    requeues: int = Field(default=1000, ge=0)
    address: str = ""
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """Where runs are executed. `workers`, `cores` and `kind` are None if the table does not set them.

    `cores`, `gpus` and `memory` (GB) are those of one run. These are for Slurm:

    - `partition`: the partition of the cluster.
    - `seconds`: the time limit of a job.
    - `notice`: how many seconds before the limit a run is told to stop.
    - `requeues`: how often a run may be queued again.
    - `options`: other options of sbatch.

    `address` is for Ray: the address of its cluster.
    """

    kind: str | None = None
    workers: int | None = None
    cores: int | None = None
    gpus: float = 0.0
    partition: str = ""
    seconds: float = 4 * 3600.0
    notice: int = 120
    memory: float = 0.0
    requeues: int = 1000
    address: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def read_profile(path: Path, what: str = "profile") -> Profile:
    """Read the `[executor]` table of a TOML file. Missing keys, or a missing table, mean the defaults.

    `what` names the kind of file in an error. Raises UsageError if the file cannot be read or if the table is
    invalid.
    """
    given = read_toml(path, what, fix="see docs/clusters.md").get("executor", {})
    table = checked(_Table, given, "the [executor] table", where=str(path), fix="see docs/clusters.md")
    words = table.model_dump(exclude={"time"})
    seconds = parse_duration(table.time, "[executor] time")
    if table.kind == "slurm" and seconds < table.notice + 60:
        raise UsageError(
            f"a job of {table.time} is too short for its notice of {table.notice} s",
            where=str(path),
            expected="a time that is at least a minute longer than the notice",
            fix="raise `time` in the [executor] table",
        )
    return Profile(**words, seconds=seconds)


def needed(module: str, extra: str) -> Any:
    """Import the module that an executor needs. Raises UsageError, with the pip command, if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--executor {extra} needs the package '{module}': {error}",
            where="--executor",
            expected=f"ebbench with its extra '{extra}'",
            fix=f"pip install 'ebbench[{extra}]'",
        ) from error
