"""Sweeps by an executor and a clock that are played: order, groups, failures, signals, the time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ebbench.errors import ResultError
from ebbench.sweeps.executors import Handle, LocalProcesses, Resources
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.sweep import Sweep
from ebbench.sweeps.work import Work


class Played:
    """A process that ends after some seconds of the played clock, or a while after it is asked to stop."""

    def __init__(self, stage: Stage, seconds: float, code: int, stopping: float) -> None:
        self._stage, self._until, self._code, self._stopping = stage, stage.now + seconds, code, stopping
        self.stops = 0
        self.ended = False

    def poll(self) -> int | None:
        return self._code if self._stage.now >= self._until else None

    def cancel(self) -> None:
        self.stops += 1
        if self._stage.now + self._stopping < self._until:
            self._until, self._code = self._stage.now + self._stopping, 143

    def end(self) -> None:
        if self.poll() is None:
            self._until, self._code = self._stage.now, 137
        self.ended = True


class Stage:
    """An executor whose runs are played: how long each takes and how it ends is said before.

    A run that ends with code 0 has its result, unless it is told not to. `at` are calls at moments.
    """

    preempts = False

    def __init__(self) -> None:
        self.now = 0.0
        self.closed = False
        self.log: list[str] = []
        self.environments: list[Mapping[str, str]] = []
        self.runs: dict[str, Played] = {}
        self.results: set[str] = set()
        self.acts: dict[str, tuple[float, int, float]] = {}
        self.at: dict[float, Callable[[], None]] = {}

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        (name,) = argv
        seconds, code, stopping = self.acts.get(name, (1.0, 0, 0.5))
        if seconds < 0:
            raise OSError("no room")
        self.log.append(f"{self.now:g} {name}")
        self.environments.append(environment)
        if code == 0:
            self.results.add(name)
        self.runs[name] = Played(self, seconds, code, stopping)
        return self.runs[name]

    def wait(self, handles: Sequence[Handle]) -> None:
        self.now += 0.5
        for moment in [moment for moment in self.at if moment <= self.now]:
            self.at.pop(moment)()

    def together(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def close(self) -> None:
        self.closed = True

    def work(self, name: str, tmp_path: Path = Path("nowhere"), **more: Any) -> Work:
        def finished():
            return SimpleNamespace(metrics={"error": 0.5}) if name in self.results else None

        return Work(name, [name], tmp_path / f"{name}.log", tmp_path / f"{name}.json", finished, **more)

    def sweep(self, *works: str | Work, workers: int = 1, seconds: float | None = None) -> Summary:
        """Sweep over runs, each given by its name or as its work."""
        works = [self.work(work) if isinstance(work, str) else work for work in works]
        return Sweep(
            works,
            Summary(),
            self,
            workers,
            environment={"OMP_NUM_THREADS": "1"},
            seconds=seconds,
            clock=lambda: self.now,
        ).run()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_one_after_the_other_in_the_plans_order(stage: Stage, capsys):
    summary = stage.sweep("a", "b", "c")
    assert stage.log == ["0 a", "1 b", "2 c"]
    assert summary.done == ["a", "b", "c"] and summary.exit_code == 0
    assert summary.text() == "3 done, 0 done before, 0 failed, 0 left"
    assert "done: b in 1 s  error=0.5" in capsys.readouterr().out
    assert stage.environments == 3 * [{"OMP_NUM_THREADS": "1"}]
    assert all(run.ended for run in stage.runs.values()), "what a run started is ended with it"


def test_workers_run_side_by_side_and_take_what_is_next(stage: Stage):
    stage.acts["a"] = (3.0, 0, 0.0)
    stage.sweep("a", "b", "c", "d", workers=2)
    assert stage.log == ["0 a", "0 b", "1 c", "2 d"]


def test_runs_wait_for_their_training_and_hold_no_worker(stage: Stage, capsys):
    base = stage.work("base", training=True)
    own = stage.work("own", needs=(base,), training=True)
    a, b = (stage.work(name, needs=(own,)) for name in "ab")
    summary = stage.sweep(base, own, a, b, "c", "d", "e", workers=2)
    # a and b are side by side once the trainings are there; meanwhile the second worker takes the others.
    assert stage.log == ["0 base", "0 c", "1 own", "1 d", "2 a", "2 b", "3 e"]
    # A training is no run of the plan.
    assert summary.text() == "5 done, 0 done before, 0 failed, 0 left"
    assert "done: own in 1 s" in capsys.readouterr().out and stage.closed


def test_what_needs_a_training_that_failed_fails_with_it(stage: Stage):
    stage.acts["base"] = (1.0, 2, 0.0)
    base = stage.work("base", training=True)
    own = stage.work("own", needs=(base,), training=True)
    summary = stage.sweep(base, own, stage.work("a", needs=(own,)), "b", workers=2)
    assert stage.log == ["0 base", "0 b"] and summary.done == ["b"]
    ((label, reason),) = summary.failed
    assert label == "a" and "own failed: base failed: exit code 2" in reason


def test_what_needs_a_training_that_was_stopped_is_left(stage: Stage):
    stage.acts["base"] = (1.0, 143, 0.0)
    base = stage.work("base", training=True)
    summary = stage.sweep(base, stage.work("a", needs=(base,)), "b")
    assert summary.left == ["a"] and summary.done == ["b"] and summary.exit_code == 124


def test_a_run_that_only_follows_another_begins_whatever_came_of_it(stage: Stage):
    stage.acts["a"] = (1.0, 2, 0.0)
    first = stage.work("a")
    summary = stage.sweep(first, stage.work("b", needs=(first,)), workers=2)
    assert stage.log == ["0 a", "1 b"] and summary.done == ["b"]


def test_a_run_that_another_process_is_at_gives_its_worker_back(stage: Stage, capsys):
    stage.acts["a"] = (0.5, 75, 0.0)
    stage.at[1.0] = lambda: stage.acts.pop("a")
    summary = stage.sweep("a", "b", "c")
    # Tried again after a pause, in which the others go on.
    assert stage.log == ["0 a", "0.5 b", "1.5 c", "2.5 a"] and summary.done == ["b", "c", "a"]
    assert capsys.readouterr().out.count("waiting: a in 0 s  another process is working on it") == 1
    # The other process may have finished it.
    stage.acts["d"] = (0.5, 75, 0.0)
    stage.at[stage.now + 1] = lambda: stage.results.add("d")
    summary = stage.sweep("d")
    assert summary.existed == ["d"] and not summary.done and summary.exit_code == 0


def test_a_run_that_was_killed_is_submitted_again_and_not_for_ever(stage: Stage):
    stage.acts["a"] = (1.0, 137, 0.0)
    stage.at[0.5] = lambda: stage.acts.pop("a")
    summary = stage.sweep("a", "b")
    assert stage.log == ["0 a", "1 a", "2 b"] and summary.done == ["a", "b"]
    stage.log.clear()
    stage.acts["c"] = (1.0, 137, 0.0)
    assert [label for label, _ in stage.sweep("c").failed] == ["c"] and len(stage.log) == 3


def test_a_run_that_a_cluster_stopped_is_submitted_again(stage: Stage, capsys):
    stage.preempts = True
    stage.acts["a"] = (1.0, 143, 0.0)
    stage.at[0.5] = lambda: stage.acts.pop("a")
    summary = stage.sweep("a")
    assert stage.log == ["0 a", "1 a"] and summary.done == ["a"] and summary.exit_code == 0
    assert "again: a in 1 s  it was stopped at a checkpoint" in capsys.readouterr().out


def test_what_cannot_be_submitted_together_has_failed(stage: Stage, monkeypatch):
    @contextlib.contextmanager
    def refusing():
        yield
        raise RuntimeError("the queue is full")

    monkeypatch.setattr(stage, "together", refusing)
    summary = stage.sweep("a", "b", workers=2)
    assert [label for label, _ in summary.failed] == ["a", "b"] and "the queue is full" in summary.text()


def test_a_failure_is_named_and_the_rest_goes_on(stage: Stage, tmp_path: Path, capsys):
    stage.acts |= {"a": (1.0, 2, 0.0), "b": (1.0, 137, 0.0), "d": (-1.0, 0, 0.0)}
    summary = stage.sweep("a", "d", "e", "b", "c")
    assert summary.done == ["e", "c"] and summary.exit_code == 1
    assert [label for label, _ in summary.failed] == ["a", "d", "b"]
    text = summary.text()
    assert "failed: a (exit code 2" in text and "failed: b (exit code 137" in text
    assert "failed: d (it cannot be started: OSError: no room" in text
    assert "FAILED: a in 1 s" in capsys.readouterr().out


def test_exit_code_0_without_a_result_is_a_failure(stage: Stage):
    stage.results.discard("a")
    stage.acts["a"] = (2.0, 0, 0.0)
    stage.at[1.0] = lambda: stage.results.discard("a")
    summary = stage.sweep("a", "b")
    assert summary.done == ["b"] and summary.exit_code == 1
    assert "exit code 0, but there is no result" in summary.text()


@pytest.mark.parametrize("error", [ResultError("it is no JSON", where="a.json"), RuntimeError("odd")])
def test_a_result_that_cannot_be_read_is_a_failure(stage: Stage, error: Exception):
    def finished():
        raise error

    odd = Work("a", ["a"], Path("a.log"), Path("a.json"), finished)
    summary = Sweep([odd, stage.work("b")], Summary(), stage, 1, environment={}).run()
    assert summary.done == ["b"] and str(error).split("\n")[0] in summary.text()


def test_the_reason_of_a_failure_is_the_error_at_the_end_of_its_log(stage: Stage, tmp_path: Path):
    stage.acts["a"] = (1.0, 2, 0.0)
    work = stage.work("a", tmp_path)
    work.log.write_bytes(b"x" * 100_000 + b"\nerror: old\nmore\nerror: no room\x1b[2J\n  fix: free some\n")
    summary = Sweep([work], Summary(), stage, 1, environment={}).run()
    ((_, reason),) = summary.failed
    assert reason.startswith("exit code 2: error: no room?[2J; fix: free some")
    assert "a.log" in reason and "old" not in reason


def test_a_signal_stops_the_runs_at_a_checkpoint_and_begins_none(stage: Stage, capsys):
    stage.acts |= {"a": (100.0, 0, 2.0), "b": (5.5, 0, 9.0)}
    stage.at[5.0] = lambda: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    summary = stage.sweep("a", "b", "c", "d", workers=2)
    assert stage.log == ["0 a", "0 b"] and stage.now == 7.0
    # b ended while it was being stopped.
    assert summary.done == ["b"] and summary.left == ["a", "c", "d"] and summary.exit_code == 143
    assert "goes on with what is left" in summary.text()
    assert stage.runs["a"].stops == 1
    assert "at their next checkpoint" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_terminal_that_is_closed_stops_the_runs(stage: Stage, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        stage.at[0.5] = lambda: os.kill(os.getpid(), signal.SIGHUP)
        assert stage.sweep("a", "b").exit_code == 129
        # Under nohup it is ignored, and stays so.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stage.at[stage.now + 0.5] = lambda: os.kill(os.getpid(), signal.SIGHUP)
        assert stage.sweep("a", "b").exit_code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_is_passed_on_and_a_third_kills(stage: Stage):
    stage.acts["a"] = (1000.0, 0, 500.0)
    for moment in (1.0, 2.0, 3.0):
        stage.at[moment] = lambda: os.kill(os.getpid(), signal.SIGINT)
    summary = stage.sweep("a", "b")
    assert stage.now == 3.0 and stage.runs["a"].stops == 2 and stage.runs["a"].ended
    assert summary.left == ["a", "b"] and not summary.failed and summary.exit_code == 130


def test_a_time_limit_stops_the_runs_and_says_that_some_are_left(stage: Stage):
    summary = stage.sweep("a", "b", "c", "d", seconds=2.5)
    assert stage.log == ["0 a", "1 b", "2 c"]
    assert summary.done == ["a", "b", "c"] and summary.left == ["d"] and summary.exit_code == 124
    stage.acts["e"] = (100.0, 0, 1.0)
    summary = stage.sweep("e", seconds=10)
    assert summary.left == ["e"] and summary.exit_code == 124


def test_a_time_limit_that_is_not_reached_changes_nothing(stage: Stage):
    assert stage.sweep("a", "b", seconds=100).exit_code == 0 and stage.now == 2.0


def test_a_run_that_does_not_stop_is_killed_in_the_end(stage: Stage):
    stage.acts["a"] = (10_000.0, 0, 10_000.0)
    summary = stage.sweep("a", seconds=10)
    assert 10 < stage.now < 200 and stage.runs["a"].stops == 2
    assert summary.left == ["a"] and summary.exit_code == 124


@pytest.mark.parametrize("code", [124, 130, 143])
def test_a_run_that_somebody_else_stopped_is_left(stage: Stage, code: int):
    stage.acts["a"] = (1.0, code, 0.0)
    summary = stage.sweep("a", "b")
    assert summary.left == ["a"] and summary.done == ["b"] and summary.exit_code == 124


def test_a_mistake_of_the_sweep_itself_leaves_no_run_behind(stage: Stage):
    stage.acts["a"] = (100.0, 0, 0.0)

    def fall_over() -> None:
        raise BrokenPipeError

    stage.at[3.0] = fall_over
    with pytest.raises(BrokenPipeError):
        stage.sweep("a")
    assert stage.runs["a"].ended


def ended(process: Handle) -> int:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        LocalProcesses().wait([process])
    code = process.poll()
    assert code is not None
    return code


def local(code: str, tmp_path: Path, **environment: str) -> Handle:
    return LocalProcesses().submit(
        [sys.executable, "-I", "-S", "-c", code],
        os.environ | environment,
        Resources(),
        tmp_path / "logs" / "a.log",
    )


def test_a_local_process_writes_all_it_says_to_its_log(tmp_path: Path):
    code = "import sys, os; print(sys.stdin.read() + 'said', os.environ['A']); sys.exit('more')"
    process = local(code, tmp_path, A="here")
    assert ended(process) == 1
    process.end()
    log = (tmp_path / "logs" / "a.log").read_text()
    assert "said here" in log and "more" in log


def test_nothing_that_a_local_process_started_stays_behind(tmp_path: Path):
    # Its child sleeps on; it holds the lock as long as it lives.
    code = f"""
import os, time, fcntl
lock = open({str(tmp_path / "lock")!r}, "w")
fcntl.flock(lock, fcntl.LOCK_EX)
if os.fork() == 0:
    time.sleep(600)
"""
    import fcntl

    process = local(code, tmp_path)
    assert ended(process) == 0
    with open(tmp_path / "lock") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.end()
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_a_local_process_that_a_signal_ends_reports_it_as_a_shell_does(tmp_path: Path):
    process = local("import time; time.sleep(600)", tmp_path)
    process.cancel()
    assert ended(process) == 143
    other = local("import time; time.sleep(600)", tmp_path)
    other.end()
    assert other.poll() == 137


def test_what_stops_many_runs_is_said_once_with_how_many_it_stops():
    summary = Summary(failed=[(f"run {i}", "no data") for i in range(54)] + [("a", "x"), ("b", "x")])
    assert summary.text().splitlines()[1:] == [
        "failed: 54 runs, from run 0 to run 53 (no data)",
        "failed: a, b (x)",
    ]
