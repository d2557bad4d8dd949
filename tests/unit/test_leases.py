"""Leases, fault by fault, by a clock that is played and by processes that are killed or suspended."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import leasing
from ebbench.errors import StorageError
from ebbench.storage import alive, files, leases, locks, runstore
from ebbench.storage.leases import MISSES, Lease, Watch
from leasing import BEAT, Clock, elsewhere

# Fixtures.
clock = leasing.clock
leased = leasing.leased


def beaten(path: Path) -> None:
    """One heartbeat of a holder that is elsewhere."""
    head, line = path.read_text().splitlines(keepends=True)
    path.write_text(f"{head}held {int(line.split()[1]) + 1:012d}\n")


def waits(
    lease: Lease, clock: Clock, seconds: float, step: float = 1.0, then: Callable = lambda: None
) -> bool:
    """Whether who tries every `step` seconds gets the lease within `seconds`; `then` after each try."""
    for _ in range(int(seconds / step)):
        if lease.take():
            return True
        clock.now += step
        then()
    return False


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ | environment
    )


def test_one_at_a_time_and_then_the_next(tmp_path: Path):
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert first.take() and not second.take() and first.renew()
    first.free()
    assert second.take() and second.renew()
    assert not first.renew(), "what was given back is not renewed"
    first.free()
    assert second.renew(), "and not given back twice"
    assert [path.name for path in tmp_path.iterdir()] == ["lease.2"]


def test_a_holder_elsewhere_is_gone_after_so_many_missed_heartbeats_and_not_before(
    tmp_path: Path, clock: Clock
):
    assert Lease(tmp_path, heartbeat=BEAT).take()
    elsewhere(tmp_path)
    waiting = Lease(tmp_path, clock=clock)
    assert not waits(waiting, clock, MISSES * BEAT - 1)
    assert waits(waiting, clock, BEAT)


def test_a_heartbeat_at_the_last_moment_counts(tmp_path: Path, clock: Clock):
    assert Lease(tmp_path, heartbeat=BEAT).take()
    path = elsewhere(tmp_path)
    waiting = Lease(tmp_path, clock=clock)
    for _ in range(3):
        assert not waits(waiting, clock, MISSES * BEAT - 1)
        beaten(path)
    assert not waits(waiting, clock, 500, 5.0, then=lambda: beaten(path))


@pytest.mark.parametrize("off", [-7 * 3600, 7 * 3600, 10**8])
def test_a_clock_that_is_off_by_hours_changes_nothing(tmp_path: Path, clock: Clock, monkeypatch, off: float):
    """The clock of the host that waits, and the times of the files, are far from those of the holder."""
    assert Lease(tmp_path, heartbeat=BEAT).take()
    path = elsewhere(tmp_path)
    stamp = time.time() + off
    os.utime(path, (stamp, stamp))
    monkeypatch.setattr(time, "time", lambda: stamp)
    waiting = Lease(tmp_path, clock=clock)
    assert not waits(waiting, clock, 3 * MISSES * BEAT, then=lambda: beaten(path))
    assert not waits(waiting, clock, MISSES * BEAT - 1)
    assert waits(waiting, clock, BEAT + 1)


def test_a_store_that_hung_for_an_hour_costs_the_holder_one_heartbeat(tmp_path: Path, clock: Clock):
    assert Lease(tmp_path, heartbeat=BEAT).take()
    path = elsewhere(tmp_path)
    waiting = Lease(tmp_path, clock=clock)
    assert not waiting.take()
    clock.now += 3600
    assert not waiting.take()
    beaten(path)
    assert not waits(waiting, clock, MISSES * BEAT - 1)


def test_the_heartbeat_is_the_holders_own(tmp_path: Path, clock: Clock):
    assert Lease(tmp_path, heartbeat=100.0).take()
    elsewhere(tmp_path)
    waiting = Lease(tmp_path, heartbeat=0.1, clock=clock)
    assert not waits(waiting, clock, MISSES * 100.0 - 1)


def test_a_holder_of_another_boot_or_container_is_not_taken_for_one_of_ours(tmp_path: Path):
    assert alive.machine() and alive.began(os.getpid())
    assert not alive.ended(os.getpid(), alive.machine(), alive.began(os.getpid()))
    assert alive.ended(os.getpid(), alive.machine(), "1"), "the number was given again"
    assert not alive.ended(os.getpid(), "another boot", "1")
    assert not alive.ended(os.getpid(), "", "1")
    assert Lease(tmp_path).take()
    elsewhere(tmp_path, pid=2**22 + 1, started="1")
    assert not Lease(tmp_path).take()


def test_who_was_suspended_and_lost_its_lease_writes_no_more(tmp_path: Path, clock: Clock):
    """The clock of a holder that sleeps stands still, so that it believes that it still has the lease."""
    sleeper, file = Lease(tmp_path, heartbeat=BEAT), tmp_path / "state.json"
    assert sleeper.take()
    with files.guarded(sleeper.check):
        files.write_atomically(file, b"the sleeper's")
    number = elsewhere(tmp_path)
    original = number.read_bytes()
    waiting = Lease(tmp_path, clock=clock)
    assert waits(waiting, clock, MISSES * BEAT + 1)
    files.write_atomically(file, b"the new holder's")
    with files.guarded(sleeper.check), pytest.raises(StorageError, match="lost the lock of its run"):
        files.write_atomically(file, b"the sleeper's again")
    assert file.read_bytes() == b"the new holder's" and not list(tmp_path.glob(".*"))
    # Not even if its old file should come back, as a folder that is cached may show it.
    number.write_bytes(original)
    assert not sleeper.renew() and waiting.renew()


def test_who_was_delayed_between_its_look_and_its_taking_withdraws(tmp_path: Path, monkeypatch):
    """It saw number 1 free, and makes number 2 when that has come, gone and been cleared away."""
    first = Lease(tmp_path)
    assert first.take()
    first.free()
    late, real = Lease(tmp_path), os.open

    def delayed(path, flags, *rest):
        if flags & os.O_EXCL:
            monkeypatch.setattr(os, "open", real)
            for _ in range(2):
                other = Lease(tmp_path)
                assert other.take()
                other.free()
            nonlocal holder
            holder = Lease(tmp_path)
            assert holder.take()
        return real(path, flags, *rest)

    holder = first
    monkeypatch.setattr(os, "open", delayed)
    assert not late.take()
    assert holder.renew() and [path.name for path in tmp_path.iterdir()] == ["lease.4"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\n\n", b"{}\nheld 1\n"])
def test_a_lease_that_is_half_written_is_held_until_it_is_gone(tmp_path: Path, clock: Clock, content: bytes):
    (tmp_path / "lease.1").write_bytes(content)
    waiting = Lease(tmp_path, clock=clock)
    assert not waits(waiting, clock, MISSES * leases.HEARTBEAT - 1)
    assert waits(waiting, clock, leases.HEARTBEAT + 1)


def test_a_full_disk_is_no_lease_and_leaves_nothing(tmp_path: Path, monkeypatch):
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Lease(tmp_path).take()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", real)
    holder = Lease(tmp_path)
    assert holder.take()
    # A disk that has filled up since takes the lease from nobody.
    monkeypatch.setattr(os, "fsync", full)
    assert holder.renew()
    holder.check()


def test_a_lock_on_a_full_disk_says_so(tmp_path: Path, monkeypatch, leased):
    (tmp_path / "store").mkdir()
    assert locks.kind(tmp_path / "store") == locks.LEASE

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(StorageError, match="No space left") as raised,
        runstore.locked(tmp_path / "store" / "a", print),
    ):
        raise AssertionError("not locked")
    assert "free some space" in raised.value.fix


HOLD = """
import sys, time
from pathlib import Path
from ebbench.storage import runstore
with runstore.locked(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_holder_that_is_killed_on_this_machine_is_followed_at_once(tmp_path: Path, leased, monkeypatch):
    monkeypatch.setenv("EBBENCH_HEARTBEAT", "600")
    place = tmp_path / "store" / "a"
    process = python(HOLD.replace("sys.argv[1]", repr(str(place))))
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        notes: list[str] = []
        threading.Timer(0.3, lambda: os.kill(process.pid, signal.SIGKILL)).start()
        began = time.monotonic()
        with runstore.locked(place, notes.append):
            assert time.monotonic() - began >= 0.25
            # A killed process is a zombie until its parent has asked: it runs no more.
            assert f"process {process.pid}" in notes[0]
    finally:
        process.kill()
        process.communicate()


def test_a_holder_that_is_suspended_elsewhere_is_followed_and_stays_out(tmp_path: Path, leased):
    """Real processes, a real clock: the holder is stopped, loses its lease, goes on, and may not write."""
    place = tmp_path / "store" / "a"
    code = f"""
import sys, time
from pathlib import Path
from ebbench.errors import StorageError
from ebbench.storage import alive, runstore
alive.machine = lambda: "another boot"
place = Path({str(place)!r})
with runstore.locked(place, print):
    print("held", flush=True)
    sys.stdin.readline()
    try:
        runstore.write(place / "state", b"old")
    except StorageError as error:
        print(error.what, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        os.kill(process.pid, signal.SIGSTOP)
        with runstore.locked(place, lambda text: None):
            runstore.write(place / "state", b"new")
            os.kill(process.pid, signal.SIGCONT)
            out, _ = process.communicate("\n", timeout=20)
            assert "lost the lock of its run" in out and (place / "state").read_bytes() == b"new"
    finally:
        process.kill()
        process.communicate()


def test_a_watch_sees_that_a_free_lease_is_nobodys_fault(tmp_path: Path, clock: Clock):
    lease = Lease(tmp_path, heartbeat=BEAT)
    assert lease.take()
    lease.free()
    watch, record = Watch(clock), leases.read(tmp_path)
    assert record is not None and record.count is None and not watch.gone(record)
    assert leases.read(tmp_path / "nowhere") is None
