"""A box for a stranger's code: no network, one writable folder, no access to other files and processes.

The code in the box sees the system's programs and libraries, Python, the installed packages and the code of
ebbench. It sees no data sets, no results, no run store and no home folder.

A box needs Linux 5.12 or later, `unshare` and `setpriv` (both from util-linux), and either the right to make
user namespaces or root. When the box ends, all processes in it end, even children that have detached from
their parent. The box ends with the process that started it.
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

import ebbench

LAUNCH = Path(__file__).with_name("launch.py")
# Folders made in a scratch folder: the root of the box (launch.py repeats the name), and a folder for
# temporary files.
ROOT, TEMPORARY = ".root", "tmp"
# The environment variables that the stranger's process gets from ours.
KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "EBBENCH_SHARED_GPU", "EBBENCH_CAPTURE")
# Prefixes of variables that set how libraries compute. They can change the last bits of results.
COMPUTING = ("OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "CUDA_", "CUBLAS_", "PYTORCH_")
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
)


def boxed(command: Sequence[str], scratch: Path, more: Sequence[str] = ()) -> list[str]:
    """Return the command line that runs `command` in a box.

    `scratch` and the first word of `command` are absolute paths. The command may write only below `scratch`,
    and read the paths of `shown()` and of `more`.
    """
    unshare = shutil.which("unshare") or "unshare"
    namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--net", "--ipc", "--uts"]
    inside = [sys.executable, "-P", str(LAUNCH), str(scratch), *shown(), *more, "--", *command]
    return mortal([unshare, *namespaces, "--fork", "--kill-child", *inside])


def mortal(command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` so that it is killed when the thread that started it ends.

    Without `setpriv`, as outside Linux, this is the command itself.
    """
    setpriv = shutil.which("setpriv")
    return [*((setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()), *command]


def shown() -> list[str]:
    """The paths that a box shows: the system, Python, packages, and the code of ebbench without its tasks."""
    found = [path for path in SYSTEM if os.path.lexists(path)]
    python = Path(os.path.realpath(sys.executable)).parent.parent
    places = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, str(python)]
    places += [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    places.append(str(Path(ebbench.__file__).resolve().parent))
    for place in dict.fromkeys(os.path.abspath(place) for place in places):
        if os.path.isdir(place) and not any(Path(place).is_relative_to(other) for other in found):
            found = [other for other in found if not Path(other).is_relative_to(place)] + [place]
    return found


def graphics() -> list[str]:
    """The further paths that a process needs to use a graphics card."""
    return [*sorted(str(path) for path in Path("/dev").glob("nvidia*") if not path.is_dir()), "/sys"]


def environment(scratch: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a boxed process: a few of our variables, home folders in `scratch`, and `more`."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(COMPUTING)}
    temporary = scratch / TEMPORARY
    temporary.mkdir(exist_ok=True)
    own = {"HOME": str(scratch), "TMPDIR": str(temporary), "USER": "nobody", "LOGNAME": "nobody"}
    return {**kept, **own, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1", **more}


@functools.cache
def why_not() -> str:
    """Say in words why this machine cannot make a box; "" if it can. This tries to make one."""
    if sys.platform != "linux":
        return f"a sandbox needs Linux, but this is {sys.platform}"
    for tool in ("unshare", "setpriv"):
        if shutil.which(tool) is None:
            return f"there is no `{tool}` here (package util-linux)"
    with tempfile.TemporaryDirectory() as folder:
        # The box must work: looking at a file outside, and writing outside, must both fail.
        outside = Path(folder) / "outside"
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        (Path(folder) / "private").touch()
        attempt = (
            f"import os; seen = os.path.exists({str(Path(folder) / 'private')!r}); "
            f"seen or open({str(scratch / 'in')!r}, 'w'); open({str(outside)!r}, 'w')"
        )
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
    return f"a trial failed: {said[-1] if said else 'code could read or write outside of the sandbox'}"
