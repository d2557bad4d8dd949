"""How many threads a run takes, and how they wait for one another.

The number of threads can move the last bits of a sum, so it hangs on the machine alone and never on how busy
it is. How threads wait moves no bit. Waiting threads of OpenMP spin by default: on an idle machine that is
quick, but where other work needs the cores it makes everything several times slower.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ebbench.errors import UsageError

# The variables that say how many threads torch takes, and how OpenMP's threads wait.
COUNT, WAITING = ("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "OMP_WAIT_POLICY"
# From this share of the cores on, other work is taken to need them.
BUSY = 0.4


def settle(threads: int = 0) -> str:
    """Settle the number of threads (0: all cores that this process may use) and how they wait; say so.

    To be called before torch is loaded: afterwards only the number can be changed. What the user has set in
    the environment stays, unless `threads` is given. Raises UsageError for a number below 0.
    """
    if threads < 0:
        raise UsageError(
            f"{threads} threads", where="--threads", expected="a number from 1 on, or 0 for all cores"
        )
    cores = usable_cores()
    chosen = threads or _from_environment() or cores
    # Not beyond what a library may be asked for by mistake: thousands of threads end a machine.
    chosen = min(chosen, 4 * cores)
    for name in COUNT:
        os.environ[name] = str(chosen)
    said = f"threads: {chosen} (this process may use {cores} core{'s' * (cores != 1)})"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(chosen)
    elif chosen > 1 and WAITING not in os.environ and "GOMP_SPINCOUNT" not in os.environ and _busy(cores):
        os.environ[WAITING] = "passive"
        said += "; other work is running, so that they wait without spinning"
    return said


def usable_cores() -> int:
    """The cores that this process may use: its affinity, and the quota of its control group, rounded up."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = _quota()
    return max(1, min(cores, quota) if quota else cores)


def _quota() -> int:
    """The cores that the control group allows, 0 where it does not say (Linux, versions 2 and 1)."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            folder = Path("/sys/fs/cgroup/cpu")
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 0
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return 0
    return -(-int(quota) // int(period))


def _from_environment() -> int:
    value = os.environ.get(COUNT[0], "").split(",")[0].strip()
    return int(value) if value.isdigit() else 0


def _busy(cores: int) -> bool:
    """Whether other work has kept a good part of the cores over the last minute."""
    try:
        return os.getloadavg()[0] > BUSY * cores
    except (OSError, AttributeError):
        return False
