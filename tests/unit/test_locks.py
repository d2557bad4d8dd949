"""Leases that many want at once, and which kind of lock a file system gets."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import leasing
from ebbench.errors import UsageError
from ebbench.storage import locks, runstore
from ebbench.storage.leases import MISSES, Lease
from leasing import BEAT, Clock, elsewhere

# Fixtures.
clock = leasing.clock
leased = leasing.leased


RACE = """
import os, sys, time
from pathlib import Path
from ebbench.storage import alive
from ebbench.storage.leases import Lease
# None of them can see that another is alive or not: all must go by the heartbeats.
alive.machine = lambda: f"machine {os.getpid()}"
folder = Path(sys.argv[1])
inside = folder / "inside"
end = time.monotonic() + float(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
wins = 0
while time.monotonic() < end:
    lease = Lease(folder, heartbeat=5.0)
    if not lease.take():
        continue
    # Whoever is alone inside can make this file, and finds it as it left it.
    descriptor = os.open(inside, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.write(descriptor, str(os.getpid()).encode())
    os.close(descriptor)
    assert lease.renew()
    with open(folder / "count", "r+") as file:
        count = int(file.read()) + 1
        file.seek(0)
        file.write(str(count))
    assert inside.read_text() == str(os.getpid())
    inside.unlink()
    lease.free()
    wins += 1
print(wins, flush=True)
"""


def test_taking_is_exclusive_however_often_it_is_tried(tmp_path: Path):
    (tmp_path / "count").write_text("0")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), "0.8"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    said = [racer.communicate("\n", timeout=60) for racer in racers]
    assert all(racer.returncode == 0 for racer in racers), said
    wins = [int(out) for out, _ in said]
    assert sum(wins) == int((tmp_path / "count").read_text()) > 20
    assert len(list(tmp_path.glob("lease.*"))) == 1


@pytest.mark.medium
def test_of_many_who_see_a_holder_gone_one_takes_its_place(tmp_path: Path, clock: Clock):
    """A hundred times, eight threads at a barrier: all have judged the same lease, one gets it."""
    for attempt in range(100):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        assert Lease(folder, heartbeat=BEAT).take()
        elsewhere(folder)
        waiting = [Lease(folder, clock=clock) for _ in range(8)]
        for _ in range(MISSES):
            assert not any(lease.take() for lease in waiting)
            clock.now += BEAT
        start, won = threading.Barrier(len(waiting)), []

        def go(lease: Lease, start: threading.Barrier = start, won: list[Lease] = won) -> None:
            start.wait()
            if lease.take():
                won.append(lease)

        threads = [threading.Thread(target=go, args=(lease,)) for lease in waiting]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1 and won[0].renew()
        assert sum(lease.renew() for lease in waiting) == 1


def test_who_looks_learns_who_holds_what(tmp_path: Path, monkeypatch, leased):
    store = tmp_path / "store"
    watcher = runstore.Watcher()
    assert watcher.holder(store / "a") is None
    with runstore.locked(store / "a", print):
        holder = watcher.holder(store / "a")
        assert holder is not None and holder.pid == os.getpid() and holder.silent is None
        (path,) = (store / "a").glob("lease.*")
    assert watcher.holder(store / "a") is None
    monkeypatch.setenv("EBBENCH_LOCKS", "flock")
    flocked = tmp_path / "other" / "a"
    with runstore.locked(flocked, print):
        assert watcher.holder(flocked) == runstore.Holder()
        assert watcher.holder(flocked) == runstore.Holder(), "to look is not to take"
    assert watcher.holder(flocked) is None


def test_the_kind_of_lock_is_the_file_systems_or_as_it_was_said(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("EBBENCH_LOCKS", raising=False)
    for name in ("disk", "shared", "chosen"):
        (tmp_path / name).mkdir()
    assert locks.kind(tmp_path / "disk") == locks.FLOCK and not list((tmp_path / "disk").iterdir())
    monkeypatch.setattr(locks, "file_system", lambda folder: "nfs4")
    assert locks.kind(tmp_path / "shared") == locks.LEASE
    # The file server itself sees a disk, and keeps to what the others do.
    monkeypatch.setattr(locks, "file_system", lambda folder: "ext4")
    assert locks.kind(tmp_path / "shared") == locks.LEASE == locks.peek(tmp_path / "shared")
    monkeypatch.setenv("EBBENCH_LOCKS", "flock")
    with pytest.raises(UsageError, match="uses leases"):
        locks.kind(tmp_path / "shared")
    monkeypatch.setenv("EBBENCH_LOCKS", "lease")
    assert locks.kind(tmp_path / "chosen") == locks.LEASE
    monkeypatch.setenv("EBBENCH_LOCKS", "nfs")
    with pytest.raises(UsageError, match="unknown kind of lock 'nfs'"):
        locks.kind(tmp_path / "chosen")


def test_where_flock_is_absent_leases_are_used(tmp_path: Path, monkeypatch):
    import fcntl

    monkeypatch.delenv("EBBENCH_LOCKS", raising=False)

    def absent(file: object, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", absent)
    assert locks.kind(tmp_path) == locks.LEASE


@pytest.mark.parametrize("said", ["0", "soon", "nan", "1e9", "-1"])
def test_a_heartbeat_that_cannot_be(monkeypatch, said: str):
    monkeypatch.setenv("EBBENCH_HEARTBEAT", said)
    with pytest.raises(UsageError, match="EBBENCH_HEARTBEAT"):
        locks.heartbeat()


def test_the_file_system_of_a_folder_is_that_of_its_nearest_mount(tmp_path: Path):
    mounts = tmp_path / "mountinfo"
    (tmp_path / "a b" / "c").mkdir(parents=True)
    deep = str(tmp_path / "a b").replace(" ", "\\040")
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:40 / {tmp_path} rw shared:7 - xfs /dev/sdb1 rw\n"
        f"3 1 0:41 / {deep} rw - nfs4 server:/export rw\n"
        f"4 1 0:42 / {tmp_path}/a rw - fuse.sshfs x rw\n"
    )
    assert locks.file_system(tmp_path / "a b" / "c", mounts) == "nfs4"
    assert locks.file_system(tmp_path, mounts) == "xfs"
    assert locks.file_system(Path("/usr"), mounts) == "ext4"
    assert locks.file_system(Path("/usr"), tmp_path / "nowhere") == ""
