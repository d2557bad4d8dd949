"""The `[executor]` table of a plan or of a profile: where the runs of a sweep are executed, and with what."""

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
    """Where runs are executed. `workers`, `cores` and `kind` are None where the table does not say.

    `cores`, `gpus` and `memory` (GB) are those of one run. For Slurm: the `partition`, the limit of a job in
    `seconds`, how many seconds before it a run is told to stop (`notice`), how often it may be queued again
    (`requeues`), and other `options` of sbatch. For Ray: the `address` of its cluster.
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
    """The `[executor]` table of a TOML file; what it does not say is as if there were none.

    Raises UsageError for a file that cannot be read, which `what` names, and for a table that is wrong.
    """
    given = read_toml(path, what, fix="see docs/clusters.md").get("executor", {})
    table = checked(_Table, given, "the [executor] table", where=str(path), fix="see docs/clusters.md")
    words = table.model_dump(exclude={"time"})
    seconds = parse_duration(table.time, "[executor] time")
    if table.kind == "slurm" and seconds < table.notice + 60:
        raise UsageError(
            f"a job of {table.time} has no time to work before its notice of {table.notice} s",
            where=str(path),
            expected="a time that is at least a minute longer than the notice",
            fix="raise `time` in the [executor] table",
        )
    return Profile(**words, seconds=seconds)


def needed(module: str, extra: str) -> Any:
    """The module that an executor is built on. Raises UsageError with the cure where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"--executor {extra} needs the package '{module}': {error}",
            where="--executor",
            expected=f"ebbench with its extra '{extra}'",
            fix=f"pip install 'ebbench[{extra}]'",
        ) from error
