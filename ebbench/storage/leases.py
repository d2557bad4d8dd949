"""Leases: locks of folders that machines share. There, flock may be absent or hold on one machine only.

A lease is a file `lease.N` in the folder that it guards. It says who holds it (host, process, a random name).
It also has a count, which the holder raises at every heartbeat. If there are several files, only the one with
the highest N counts.

- **Taking a lease** means creating `lease.N+1`. The file system lets only one process do that (O_CREAT with
  O_EXCL, which is atomic on NFS from version 3 and on Lustre). The highest file is never removed: a holder
  that is done marks it as free. So a process that looked at an older N and was then delayed finds a higher
  one, and withdraws.
- **A holder is gone** when its count has not changed at MISSES looks in a row. The looks are a heartbeat
  apart, on the clock of the process that looks, so no two clocks are compared. If the server hangs for an
  hour, this counts as one look. On the same machine, a holder whose process has ended is gone at once.
- **A holder that lost its lease** while it was suspended writes nothing more: `guarded` checks the lease
  before a file gets its final name.

`filelock.SoftFileLease` is similar. It takes over a lease by exchanging two names, which NFS refuses.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ebbench.errors import StorageError
from ebbench.storage import alive
from ebbench.storage.files import guarded

# After this number of looks in a row without a new heartbeat, a holder counts as gone.
MISSES = 6
# Seconds between two heartbeats. Each lease states its holder's own value, which waiting processes use.
HEARTBEAT = 10.0
# Seconds between two looks of a waiting process for a lease that was given back.
LOOK = 0.5

_NAME = re.compile(r"lease\.([0-9]{1,9})")
# The last line of the file. It always has the same length, so it is overwritten in place. That needs no room
# on a full disk.
_HELD, _FREE = "held {:012d}\n", "free {:012d}\n"


@dataclass(frozen=True)
class Record:
    """The content of a lease. `machine` and `started` identify the holder's process (alive.py).

    `heartbeat` is the seconds between two heartbeats. `count` is None if the lease is free.
    """

    number: int
    host: str = ""
    pid: int = 0
    machine: str = ""
    started: str = ""
    name: str = ""
    heartbeat: float = HEARTBEAT
    count: int | None = 0

    @property
    def ended(self) -> bool:
        """Whether the holder is a process of this machine that has ended."""
        return alive.ended(self.pid, self.machine, self.started)


class Watch:
    """Decides whether the holder of a lease is alive, from the heartbeats that this process sees.

    `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: Record | None = None
        self._looked = 0.0
        self._missed = 0

    def gone(self, record: Record) -> bool:
        """Whether the holder has missed so many heartbeats that it is gone. Call this repeatedly."""
        now = self._clock()
        if record != self._seen:
            self._seen, self._looked, self._missed = record, now, 0
        elif now - self._looked >= record.heartbeat:
            # Count one miss, however long ago the last look was: the store may have hung for both processes.
            self._looked, self._missed = now, self._missed + 1
        return record.count is not None and (record.ended or self._missed >= MISSES)


class Lease:
    """The lease of one folder, for one holder. `clock` gives seconds."""

    def __init__(
        self, folder: Path, *, heartbeat: float = HEARTBEAT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._heartbeat = folder, heartbeat
        self._watch = Watch(clock)
        self._name = uuid.uuid4().hex
        self._path: Path | None = None
        self._number = 0
        self._count = 0
        self._end = 0
        self._lost = False
        # The heartbeat's thread and a writing thread may renew at the same time.
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take the lease if it is free or its holder is gone. Return whether this process has it now.

        Raises OSError, and leaves no file behind then.
        """
        found = read(self._folder)
        if found is not None and found.count is not None and not self._watch.gone(found):
            return False
        number = 1 if found is None else found.number + 1
        path = self._folder / f"lease.{number}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        self._path, self._number, self._count = path, number, 0
        try:
            with open(descriptor, "wb") as file:
                head = self._head()
                file.write(head + _HELD.format(0).encode())
                file.flush()
                os.fsync(file.fileno())
            self._end = len(head)
            # If this process was delayed since its look, its number may be outdated by now.
            won = _numbers(self._folder)[-1:] == [number]
        except BaseException:
            self._withdraw(path)
            raise
        if not won:
            self._withdraw(path)
            return False
        self._lost = False
        for old in _numbers(self._folder):
            if old < number:
                # A holder that only seemed to be gone notices the missing file at its next heartbeat.
                (self._folder / f"lease.{old}").unlink(missing_ok=True)
        return True

    def renew(self) -> bool:
        """Make a heartbeat. Return False if the lease is lost. Raises OSError if that cannot be told."""
        with self._lock:
            if self._lost or self._path is None:
                return False
            try:
                descriptor = os.open(self._path, os.O_RDWR)
            except FileNotFoundError:
                self._lost = True
                return False
            with open(descriptor, "r+b", buffering=0) as file:
                ours = f'"{self._name}"'.encode() in file.read()
                if not ours or _numbers(self._folder)[-1:] != [self._number]:
                    self._lost = True
                    return False
                self._count += 1
                # The lease is still ours, even if the disk cannot write the heartbeat.
                with contextlib.suppress(OSError):
                    self._write(file.fileno(), _HELD.format(self._count))
            return True

    def check(self) -> None:
        """Raise StorageError if the lease is lost or cannot be read."""
        try:
            if self.renew():
                return
            why = "its heartbeat was not seen for too long"
        except OSError as error:
            why = f"its lease cannot be read: {error.strerror or error}"
        raise StorageError(
            f"this process lost the lock of its run and stopped writing: {why}",
            where=str(self._folder),
            expected=f"a heartbeat every {self._heartbeat:g} s; a suspended process gives none",
            fix="another process may have taken it; the same command goes on from what is saved",
        )

    def free(self) -> None:
        """Give the lease back. A lease that was lost is left alone."""
        with self._lock:
            if self._lost or self._path is None:
                return
            # If this fails, the lease expires by itself.
            with contextlib.suppress(OSError):
                descriptor = os.open(self._path, os.O_WRONLY)
                try:
                    self._write(descriptor, _FREE.format(self._count))
                finally:
                    os.close(descriptor)
            self._path = None

    def beat(self, stop: threading.Event) -> None:
        """Renew the lease at every heartbeat until `stop` is set or the lease is lost."""
        while not stop.wait(self._heartbeat):
            with contextlib.suppress(OSError):
                if not self.renew():
                    return

    def _withdraw(self, path: Path) -> None:
        self._path = None
        with contextlib.suppress(OSError):
            path.unlink()

    def _head(self) -> bytes:
        said = {
            "host": platform.node(),
            "pid": os.getpid(),
            "machine": alive.machine(),
            "started": alive.began(os.getpid()),
            "name": self._name,
            "heartbeat": self._heartbeat,
        }
        return json.dumps(said).encode() + b"\n"

    def _write(self, descriptor: int, line: str) -> None:
        os.pwrite(descriptor, line.encode(), self._end)
        os.fsync(descriptor)


@contextlib.contextmanager
def held(folder: Path, note: Callable[[str], None], heartbeat: float = HEARTBEAT) -> Iterator[None]:
    """Hold the lease of a folder within this context. If it has to wait first, it says so by `note`.

    Raises OSError. Once the lease is lost, no file gets its final name within the context (StorageError).
    """
    lease = Lease(folder, heartbeat=heartbeat)
    waits = False
    while not lease.take():
        if not waits:
            waits = True
            holder = read(folder)
            by = f" ({holder.host}, process {holder.pid})" if holder is not None and holder.host else ""
            note(f"another process{by} is working on this run: waiting for it to end (Ctrl-C to leave)")
        time.sleep(min(LOOK, heartbeat / 2))
    stop = threading.Event()
    thread = threading.Thread(target=lease.beat, args=(stop,), daemon=True, name="ebbench lease")
    try:
        thread.start()
        with guarded(lease.check):
            yield
    finally:
        stop.set()
        lease.free()


def read(folder: Path) -> Record | None:
    """Read the present lease of a folder; None if there never was one. Raises OSError."""
    for _ in range(3):
        numbers = _numbers(folder)
        if not numbers:
            return None
        try:
            text = (folder / f"lease.{numbers[-1]}").read_bytes()
        # A higher number has replaced it. A cached listing of the folder may show that one only later.
        except FileNotFoundError:
            continue
        return _parsed(numbers[-1], text)
    return Record(numbers[-1])


def _parsed(number: int, text: bytes) -> Record:
    try:
        head, line = text.decode().splitlines()
        word, count = line.split()
        said = json.loads(head)
        return Record(
            number,
            str(said["host"]),
            int(said["pid"]),
            str(said["machine"]),
            str(said["started"]),
            str(said["name"]),
            float(said["heartbeat"]),
            None if word == "free" else int(count),
        )
    except (ValueError, KeyError, TypeError):
        # The file is just being written, or its writer was killed. It counts as held by an unknown process.
        return Record(number)


def _numbers(folder: Path) -> list[int]:
    """The numbers of the lease files in a folder, in order."""
    try:
        return sorted(int(m[1]) for name in os.listdir(folder) if (m := _NAME.fullmatch(name)))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):
            return []
        raise
