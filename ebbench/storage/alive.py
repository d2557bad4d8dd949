"""Whether a process that a file names is a process of this machine that is no more.

A number alone does not tell: numbers are given again, and containers that share a host's name do not share
its processes. So a file names the machine's boot with its table of processes, and when the process began.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.cache
def machine() -> str:
    """This boot of this machine and its table of processes; "" where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def began(pid: int) -> str:
    """When a process of this machine began, in the kernel's words; "" where there is none."""
    try:
        # The name, in brackets, may hold anything.
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie runs no more.
    return "" if words[0] in "ZX" else words[19]


def ended(pid: int, on: str, since: str) -> bool:
    """Whether the process is one of this machine (`machine`), `began` then, and is no more.

    False where that cannot be told.
    """
    return on == machine() != "" and since != "" and began(pid) != since
