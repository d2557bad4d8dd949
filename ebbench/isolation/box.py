"""A box for a stranger's code: no network, no writing outside one folder, no sight of other processes.

It needs Linux 5.12 or later and either the right to make user namespaces (`unshare`, of util-linux) or root.
The processes in it end when the box does, children that hide from their parent too.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")
# What the stranger's process is told of ours.
KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)


def boxed(command: Sequence[str], scratch: Path, hidden: Sequence[Path] = ()) -> list[str]:
    """The words that run a command, whose first word is an absolute path, in a box.

    It may write below `scratch` alone, and sees nothing of what lies below `hidden` folders and in `hidden`
    files. All else it may read.
    """
    unshare = shutil.which("unshare") or "unshare"
    namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts"]
    covered = [str(path) for path in hidden]
    return [
        *(unshare, *namespaces, "--fork", "--kill-child"),
        *(sys.executable, "-P", str(LAUNCH), str(scratch), *covered, "--"),
        *command,
    ]


def environment(scratch: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The variables that a boxed process gets: a few of ours, homes in `scratch`, and `more`."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**kept, "HOME": str(scratch), "TMPDIR": str(temporary), **more}


@functools.cache
def why_not() -> str:
    """Why there can be no box on this machine, in words; "" where there can. It is tried, not guessed."""
    if sys.platform != "linux":
        return f"a box needs Linux, and this is {sys.platform}"
    if shutil.which("unshare") is None:
        return "there is no `unshare` here (package util-linux)"
    with tempfile.TemporaryDirectory() as folder:
        # The box must hold: what it tries to write outside must fail.
        outside = Path(folder) / "outside"
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        attempt = f"open({str(scratch / 'in')!r}, 'w'); open({str(outside)!r}, 'w')"
        done = subprocess.run(
            boxed([sys.executable, "-I", "-c", attempt], scratch),
            env=environment(scratch, {}),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if (scratch / "in").exists() and not outside.exists():
            return ""
    said = done.stderr.strip().splitlines()
    return f"this machine makes no box: {said[-1] if said else 'it does not hold'}"
