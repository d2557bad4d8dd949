"""Choose the kind of lock of a run store: flock on a disk of this machine, leases on a shared file system.

flock ends at once with its process, so it is the better lock where it works. On NFS and Lustre, the mount
options decide whether it is absent or holds on one machine only. A process could find out only by asking
every machine.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import re
import tempfile
from pathlib import Path

from ebbench.errors import UsageError
from ebbench.storage import leases
from ebbench.storage.files import write_atomically

FLOCK, LEASE = "flock", "lease"
# The file in a training's folder that flock locks.
FILE = "lock"
# This file in a store says that every machine uses leases. The file server needs it, since the store is a
# local disk there.
_SHARED = "leases"
# File systems that several machines write to, as Linux names them (also "fuse.NAME").
_NETWORK = {
    *(
        "nfs",
        "nfs4",
        "lustre",
        "cifs",
        "smb3",
        "smbfs",
        "afs",
        "ceph",
        "glusterfs",
        "beegfs",
        "gpfs",
        "panfs",
    ),
    *("pvfs2", "orangefs", "wekafs", "9p", "virtiofs", "vboxsf", "sshfs", "s3fs", "gcsfuse", "juicefs"),
}
_MISSING = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


def kind(store: Path) -> str:
    """Return FLOCK or LEASE for the folders in `store`, which must exist.

    EBBENCH_LOCKS decides if it is set, then the earlier choice for this store, then its file system. A choice
    of leases is noted in the store. Raises UsageError for any other word and for flock in a store that uses
    leases, and OSError if the store cannot be used.
    """
    chosen = os.environ.get("EBBENCH_LOCKS", "auto")
    if chosen not in ("auto", FLOCK, LEASE):
        raise UsageError(
            f"unknown kind of lock '{chosen}'",
            where="EBBENCH_LOCKS",
            expected=f"auto, {FLOCK} or {LEASE}",
            fix="unset it; ebbench then chooses by the file system",
        )
    mark = store / _SHARED
    if mark.exists():
        if chosen == FLOCK:
            raise UsageError(
                "this run store uses leases, which flock does not see",
                where=f"EBBENCH_LOCKS={FLOCK}; {mark}",
                expected=f"the same kind of lock for all processes that use the store: {LEASE}",
                fix="unset EBBENCH_LOCKS; or, while nobody uses the store, remove that file",
            )
        return LEASE
    if chosen == FLOCK or (chosen == "auto" and not _shared(store)):
        return FLOCK
    write_atomically(mark, b"Every process that uses this store takes leases; see docs/plans.md.\n")
    return LEASE


def peek(store: Path) -> str:
    """Return the kind noted in the store, like `kind`, but write, try and refuse nothing. For watchers."""
    return LEASE if (store / _SHARED).exists() else FLOCK


def heartbeat() -> float:
    """Seconds between two heartbeats of a lease: EBBENCH_HEARTBEAT or the default. Raises UsageError."""
    said = os.environ.get("EBBENCH_HEARTBEAT")
    if said is None:
        return leases.HEARTBEAT
    with contextlib.suppress(ValueError):
        if math.isfinite(seconds := float(said)) and 0.01 <= seconds <= 3600:
            return seconds
    raise UsageError(
        f"'{said}' is not a time between two heartbeats",
        where="EBBENCH_HEARTBEAT",
        expected="seconds, from 0.01 to 3600",
        fix=f"unset it; the default is {leases.HEARTBEAT:g}",
    )


@functools.cache
def _shared(store: Path) -> bool:
    """Whether other machines may write to a folder, or flock does not work there."""
    if file_system(store).removeprefix("fuse.") in _NETWORK:
        return True
    import fcntl

    with tempfile.TemporaryFile(dir=store) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _MISSING:
                return True
            raise
    return False


def file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The file system that a folder is on, as Linux names it ("ext4", "nfs4"); "" if unknown."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real, found, longest = os.path.realpath(folder), "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), before.split()[4])
        inside = point == "/" or real == point or real.startswith(f"{point}/")
        # If two are mounted in the same place, the later one covers the earlier.
        if inside and len(point) >= longest:
            found, longest = after.split()[0], len(point)
    return found
