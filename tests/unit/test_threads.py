"""How many threads are chosen, and how they wait."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from ebbench import threads
from ebbench.errors import UsageError


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not loaded torch, on an idle machine of four cores."""
    for name in (*threads.COUNT, threads.WAITING, "GOMP_SPINCOUNT"):
        # Set first, so that what `settle` writes is taken back.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0), raising=False)


def test_by_default_every_core_is_taken():
    assert threads.settle() == "threads: 4 (this process may use 4 cores)"
    assert {os.environ[name] for name in threads.COUNT} == {"4"}
    assert threads.WAITING not in os.environ


@pytest.mark.parametrize(("set_", "number"), [("2", "2"), ("3,2", "3"), (" 1 ", "1"), ("", "4"), ("x", "4")])
def test_what_the_environment_says_stays(monkeypatch: pytest.MonkeyPatch, set_: str, number: str):
    monkeypatch.setenv("OMP_NUM_THREADS", set_)
    threads.settle()
    assert {os.environ[name] for name in threads.COUNT} == {number}


def test_the_number_that_is_given_goes_before_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads.settle(3).startswith("threads: 3 ")
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_no_number_is_so_large_that_it_ends_the_machine():
    assert threads.settle(100_000).startswith("threads: 16 ")


def test_a_number_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="-1 threads"):
        threads.settle(-1)


def test_where_other_work_runs_they_wait_without_spinning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 0.0, 0.0))
    assert threads.settle(1) == "threads: 1 (this process may use 4 cores)", "one waits for nobody"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads.settle().endswith("they wait without spinning")
    assert os.environ[threads.WAITING] == "passive"


def test_how_the_user_has_them_wait_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 0.0, 0.0))
    monkeypatch.setenv(threads.WAITING, "active")
    threads.settle()
    assert os.environ[threads.WAITING] == "active"


def test_a_torch_that_is_loaded_is_told(monkeypatch: pytest.MonkeyPatch):
    told = []
    torch = types.ModuleType("torch")
    torch.set_num_threads = told.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 0.0, 0.0))
    threads.settle(2)
    assert told == [2]
    assert threads.WAITING not in os.environ, "it would come too late"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "1000 100000"}, 1),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu.cfs_quota_us": "300000\n", "cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, 8),
    ],
)
def test_a_quota_counts(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int):
    def read(path: Path) -> str:
        if path.name not in files:
            raise FileNotFoundError(path)
        return files[path.name]

    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", read)
    assert threads.usable_cores() == cores
