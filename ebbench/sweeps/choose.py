"""Choose the executor that a profile or the command line names."""

from __future__ import annotations

import os

from ebbench.device import gpus_for
from ebbench.errors import unknown
from ebbench.sweeps.executors import Executor, Resources
from ebbench.sweeps.profile import KINDS, Profile

# The default for the number of Slurm jobs that wait or run at the same time.
_QUEUED = 64


def chosen(
    profile: Profile, *, kind: str, workers: int | None, threads: int, device: str
) -> tuple[Executor | None, int, Resources | None]:
    """Return the executor, the number of workers and the resources of one run.

    The executor and the resources are None for processes of this machine. `kind` and `workers` from the
    command line come before those of the profile. `threads` is the number of cores of each run on a cluster,
    unless the profile sets it. Raises UsageError for an unknown kind, and if the executor cannot be used.
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
