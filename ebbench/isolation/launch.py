"""The first program in a box. It closes the box, drops the rights to open it again, and starts the command.

    python -P launch.py SCRATCH SHOWN... -- COMMAND...

It must be the first process of new user, mount, process, network and IPC namespaces (see `box.py`). It stays
the first process: when it ends, all others in the box end too. The command may write in SCRATCH and read the
SHOWN paths. It also sees a few devices, and nothing else. This file imports nothing of ebbench, so that it
can be run by its path.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import NoReturn

# Constants of <sys/mount.h>, <linux/mount.h>, <sys/prctl.h> and <linux/capability.h>.
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 4096, 1 << 14, 1 << 18, 2
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, RDONLY = 442, -100, 0x8000, 1
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38
CAPSET, LAST_CAPABILITY, VERSION_3 = {"x86_64": 126, "aarch64": 91}, 63, 0x20080522
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# The share of the machine's memory that the stranger may fill.
MEMORY = 0.75
# The maximum number of processes and threads in the box: more than any library starts. If root in the box is
# also root outside, the kernel does not enforce it. Then the process that watches the box must.
PROCESSES = 4096

libc = ctypes.CDLL(None, use_errno=True)


class MountAttributes(ctypes.Structure):
    """`struct mount_attr`."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("namespace", ctypes.c_uint64),
    )


def checked(result: int, what: str) -> None:
    """Raise OSError if a call of the C library failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """Call mount(2). Raises OSError."""
    kind_ = kind.encode() if kind else None
    checked(libc.mount(os.fsencode(source), os.fsencode(target), kind_, flags, None), f"mount {target}")


def attributes(target: str, *, add: int = 0, clear: int = 0, flags: int = 0) -> None:
    """Call mount_setattr(2). Raises OSError."""
    wanted = MountAttributes(add, clear, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    done = libc.syscall(MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), flags, ctypes.byref(wanted), size)
    checked(done, f"mount_setattr {target}")


def close(scratch: str, shown: list[str]) -> None:
    """Make a new root with `scratch`, the `shown` paths and a few devices, and change to it."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = os.path.join(scratch, ".root")
    os.makedirs(root, exist_ok=True)
    mount("tmpfs", root, "tmpfs", 0)
    for path in (*shown, *DEVICES, scratch):
        target = root + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(path):
            os.symlink(os.readlink(path), target)
            continue
        if os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
        else:
            with open(target, "a"):
                pass
        # The scratch folder is not bound recursively, because the new root lies in it.
        mount(path, target, None, MS_BIND | (0 if path == scratch else MS_REC))
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    os.mkdir(f"{root}/proc")
    mount("proc", f"{root}/proc", "proc", 0)
    # This includes /proc, where a process that is root outside could set parameters of the kernel.
    attributes(root, add=RDONLY, flags=AT_RECURSIVE)
    attributes(root + scratch, clear=RDONLY)
    os.chdir(root)
    checked(libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    checked(libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir(scratch)


def give_up_rights() -> None:
    """Drop every capability for good, so that no mount can be changed any more."""
    for capability in range(LAST_CAPABILITY + 1):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel knows no further capability
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    number = CAPSET[os.uname().machine]
    checked(libc.syscall(number, ctypes.byref(header), ctypes.byref(nothing)), "capset")


def wait(command: int) -> NoReturn:
    """Wait for the command, and exit with its code. Then all processes that it left behind end too."""
    # A pipe that stays open here would keep its reader waiting.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        ended, status = os.wait()
        if ended == command:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def main() -> None:
    """Close the box and run the command in it."""
    # Ask for the signal here: the command could undo its own request. So the box ends with its starter.
    checked(libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "pdeathsig")
    checked(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")
    cut = sys.argv.index("--")
    scratch, *shown = sys.argv[1:cut]
    most = int(MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    close(scratch, shown)
    if child := os.fork():
        wait(child)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    count = PROCESSES if hard == resource.RLIM_INFINITY else min(PROCESSES, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (count, count))
    give_up_rights()
    command = sys.argv[cut + 1 :]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
