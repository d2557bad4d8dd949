"""A clock that is played and a folder with a lease, for tests of leases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

BEAT = 10.0


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leased(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is shared by leases, whose heart beats quickly."""
    monkeypatch.setenv("EBBENCH_LOCKS", "lease")
    monkeypatch.setenv("EBBENCH_HEARTBEAT", "0.05")


def elsewhere(folder: Path, **changes: object) -> Path:
    """Make the lease of a folder that of a process on a host that nobody here can ask."""
    (path,) = folder.glob("lease.*")
    head, line = path.read_text().splitlines(keepends=True)
    said = json.loads(head) | {"host": "node9", "machine": "another boot", "pid": 1} | changes
    path.write_text(json.dumps(said) + "\n" + line)
    return path
