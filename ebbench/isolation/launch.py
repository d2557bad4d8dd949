"""What runs first in a box: close it, give up the right to open it again, become the stranger's command.

    python -P launch.py SCRATCH HIDDEN... -- COMMAND...

It must be the first process of new user, mount, process, network and IPC namespaces (see `box.py`). Every
mount becomes read-only but SCRATCH. Each HIDDEN folder is covered by an empty one, each HIDDEN file by
/dev/null.
This file imports nothing of ebbench, so that it can be run by its path.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

# <sys/mount.h>, <linux/mount.h>, <sys/prctl.h>, <linux/capability.h>.
MS_BIND, MS_REC, MS_PRIVATE = 4096, 1 << 14, 1 << 18
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, RDONLY = 442, -100, 0x8000, 1
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAPSET, LAST_CAPABILITY, VERSION_3 = {"x86_64": 126, "aarch64": 91}, 63, 0x20080522
# The share of the machine's memory that the stranger may fill.
MEMORY = 0.75

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
    """Raise OSError where a call of the C library failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """mount(2)."""
    kind_ = kind.encode() if kind else None
    checked(libc.mount(os.fsencode(source), os.fsencode(target), kind_, flags, None), f"mount {target}")


def attributes(target: str, *, add: int = 0, clear: int = 0, flags: int = 0) -> None:
    """mount_setattr(2)."""
    wanted = MountAttributes(add, clear, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    done = libc.syscall(MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), flags, ctypes.byref(wanted), size)
    checked(done, f"mount_setattr {target}")


def close(scratch: str, hidden: list[str]) -> None:
    """Make everything read-only but `scratch`, and cover what is hidden."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount(scratch, scratch, None, MS_BIND)
    attributes("/", add=RDONLY, flags=AT_RECURSIVE)
    attributes(scratch, clear=RDONLY)
    # Sockets of services can be written to on a read-only mount.
    for folder in ("/run", "/var/run", "/dev/shm"):
        if os.path.isdir(folder) and not os.path.islink(folder):
            mount("tmpfs", folder, "tmpfs", 0)
    mount("proc", "/proc", "proc", 0)
    # Whoever is root outside may set the kernel's own parameters there.
    for path in ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi"):
        if os.path.exists(path):
            mount(path, path, None, MS_BIND)
            attributes(path, add=RDONLY)
    for path in hidden:
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", 0)
            attributes(path, add=RDONLY)
        elif os.path.exists(path):
            mount("/dev/null", path, None, MS_BIND)


def give_up_rights() -> None:
    """Drop every capability for good, so that no mount can be changed any more."""
    for capability in range(LAST_CAPABILITY + 1):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel knows no more of them
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    number = CAPSET[os.uname().machine]
    checked(libc.syscall(number, ctypes.byref(header), ctypes.byref(nothing)), "capset")


def main() -> None:
    """Close the box and run the command in it."""
    cut = sys.argv.index("--")
    scratch, *hidden = sys.argv[1:cut]
    close(scratch, hidden)
    most = int(MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    give_up_rights()
    command = sys.argv[cut + 1 :]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
