"""Which kind of lock a run store has: flock where it is on a disk of this machine, leases where it is shared.

flock falls with its process at once, so it is the better lock where it holds. On NFS and Lustre it may be
absent, or hold on one machine only, as the mount says. There is no way to find out but to ask every machine.
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
# The lock in a training's folder; flock is on it.
FILE = "lock"
# In the store: every machine uses leases, also the file server, to which the store is a disk of its own.
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
    """FLOCK or LEASE, for the folders in `store`, which is there.

    EBBENCH_LOCKS says it; else what the store has had before; else its file system. Raises UsageError for
    another word, and for flock where others use leases; OSError where the store cannot be used.
    """
    chosen = os.environ.get("EBBENCH_LOCKS", "auto")
    if chosen not in ("auto", FLOCK, LEASE):
        raise UsageError(
            f"there is no kind of lock '{chosen}'",
            where="EBBENCH_LOCKS",
            expected=f"auto, {FLOCK} or {LEASE}",
            fix="unset it: then the file system decides",
        )
    mark = store / _SHARED
    if mark.exists():
        if chosen == FLOCK:
            raise UsageError(
                "this run store is shared by leases, which flock does not see",
                where=f"EBBENCH_LOCKS={FLOCK}; {mark}",
                expected=f"one kind of lock for all who use the store: {LEASE}",
                fix="unset EBBENCH_LOCKS; or, while nobody uses the store, remove that file",
            )
        return LEASE
    if chosen == FLOCK or (chosen == "auto" and not _shared(store)):
        return FLOCK
    write_atomically(mark, b"Every process that uses this store takes leases; see docs/plans.md.\n")
    return LEASE


def peek(store: Path) -> str:
    """As `kind`, and nothing is written, tried or refused: for those who only look."""
    return LEASE if (store / _SHARED).exists() else FLOCK


def heartbeat() -> float:
    """Seconds between two heartbeats of a lease: EBBENCH_HEARTBEAT, or the usual. Raises UsageError."""
    said = os.environ.get("EBBENCH_HEARTBEAT")
    if said is None:
        return leases.HEARTBEAT
    with contextlib.suppress(ValueError):
        if math.isfinite(seconds := float(said)) and 0.01 <= seconds <= 3600:
            return seconds
    raise UsageError(
        f"'{said}' is no time between two heartbeats",
        where="EBBENCH_HEARTBEAT",
        expected="seconds, from 0.01 to 3600",
        fix=f"unset it: {leases.HEARTBEAT:g} is usual",
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
    """The kind of file system that a folder is on, as Linux names it ("ext4", "nfs4"); "" where unknown."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real, found, longest = os.path.realpath(folder), "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), before.split()[4])
        inside = point == "/" or real == point or real.startswith(f"{point}/")
        # Of two on one place the later covers the earlier.
        if inside and len(point) >= longest:
            found, longest = after.split()[0], len(point)
    return found
