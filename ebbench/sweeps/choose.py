"""A profile -> the executor that it names."""

from __future__ import annotations

import os

from ebbench.device import gpus_for
from ebbench.errors import unknown
from ebbench.sweeps.executors import Executor, Resources
from ebbench.sweeps.profile import KINDS, Profile

# Jobs of Slurm that wait or run at a time, where nothing is said.
_QUEUED = 64


def chosen(
    profile: Profile, *, kind: str, workers: int | None, threads: int, device: str
) -> tuple[Executor | None, int, Resources | None]:
    """The executor, the number of workers and what a run takes; no executor is this machine's processes.

    What the command line says (`kind`, `workers`, `threads` for each run of a cluster) comes before the
    profile. Raises UsageError for a kind that is not known, and where an executor cannot be used.
    """
    kind = kind or profile.kind or "local"
    if kind not in KINDS:
        raise unknown("executor", kind, KINDS, where="--executor")
    workers = workers or profile.workers
    resources = Resources(profile.cores or threads or 1, float(profile.gpus))
    if kind == "slurm":
        from ebbench.sweeps.slurm import Slurm

        return Slurm(profile), workers or _QUEUED, resources
    if kind == "ray":
        from ebbench.sweeps.raycluster import Ray

        cards = len(gpus_for(device, os.environ)) if resources.gpus else 0
        workers = workers or max(1, (os.cpu_count() or 1) // resources.cores)
        return Ray(profile, workers, resources, cards), workers, resources
    return None, workers or 1, None
