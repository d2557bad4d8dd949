"""Find out whether a process that a file names ran on this machine and has ended.

The process id alone is not enough. The system reuses ids, and containers with the same host name have
different processes. So the file also names the boot of the machine, its table of processes (PID namespace),
and the time when the process began.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def machine() -> str:
    """Identify this boot of this machine and its table of processes; "" if that is not possible."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def began(pid: int) -> str:
    """The start time of a process of this machine, as the kernel gives it; "" if it does not run."""
    try:
        # The name is in brackets and may contain anything.
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie does not run any more.
    return "" if words[0] in "ZX" else words[19]


def ended(pid: int, on: str, since: str) -> bool:
    """Whether a process has ended that ran on this machine.

    `on` is its `machine()` and `since` its `began(pid)`. False if this cannot be told.
    """
    return on == machine() != "" and since != "" and began(pid) != since
