"""A plan's runs, several at a time, each in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebbench.data.store import Store
from ebbench.device import SHARED_GPU
from ebbench.errors import shown
from ebbench.running.signals import TIME_IS_UP
from ebbench.storage.files import absolute
from ebbench.storage.runstore import check_writable
from ebbench.sweeps.executors import Executor, LocalProcesses, Process
from ebbench.sweeps.plan import Job
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.work import Work, find_work, one_line
from ebbench.threads import COUNT, usable_cores

# How a run ends that was stopped and goes on when it is called again.
_STOPPED = {TIME_IS_UP, 128 + signal.SIGINT, 128 + signal.SIGTERM}
_KILLED = 128 + signal.SIGKILL
# How hard the runs are pressed to stop: not at all, at a checkpoint, at once, killed.
_AT_A_CHECKPOINT, _AT_ONCE, _KILL = 1, 2, 3
# A run that does not stop within so many seconds is pressed harder.
_PATIENCE = {_AT_A_CHECKPOINT: 120.0, _AT_ONCE: 30.0}
# Bytes at the end of a log that may hold the error.
_LOG_END = 16_384


def sweep(
    jobs: Iterable[Job],
    *,
    workers: int,
    threads: int,
    device: str,
    data_dir: Path | None,
    results: Path,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Run the jobs, `workers` at a time; the workers share `threads` threads (0: every core).

    After `seconds` the runs stop at their next checkpoint, and none begins. `environment` is that of the
    runs; it is this process's if not given. Raises StorageError if `results` cannot be written.
    """
    results = absolute(results, "--results")
    check_writable(results)
    each = str(max(1, (threads or usable_cores()) // workers))
    variables = dict(os.environ if environment is None else environment)
    variables |= dict.fromkeys(COUNT, each)
    if workers > 1:
        variables[SHARED_GPU] = "1"
    options = ["--threads", each, "--device", device, "--results", str(results)]
    options += ["--data-dir", str(data_dir)] if data_dir else []
    summary = Summary()
    groups = find_work(jobs, results, Store(data_dir), options, summary)
    return Sweep(
        groups, summary, executor or LocalProcesses(), workers, environment=variables, seconds=seconds
    ).run()


@dataclass(frozen=True)
class _Running:
    """A run that goes on, since when, and what its worker does next."""

    work: Work
    process: Process
    began: float
    rest: deque[Work]


class Sweep:
    """Keeps `workers` runs going until none is left, a signal comes or the time is over.

    A worker takes a group of runs and makes one after the other: what shares a training is never made
    twice at a time. One thread does it all; `clock` gives seconds.
    """

    def __init__(
        self,
        groups: Iterable[Iterable[Work]],
        summary: Summary,
        executor: Executor,
        workers: int,
        *,
        environment: Mapping[str, str],
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = summary
        self._waiting = deque(deque(group) for group in groups)
        self._running: list[_Running] = []
        self._executor, self._workers, self._environment = executor, workers, environment
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds
        self._signals = 0
        self._pressure = 0
        self._pressed = 0.0

    def run(self) -> Summary:
        """Run all; gives the summary, whatever the runs do."""
        with self._listening():
            try:
                self._fill()
                while self._running:
                    self._executor.wait([one.process for one in self._running])
                    self._press()
                    self._collect()
                    self._fill()
            finally:
                # None but after an error of the sweep itself; their checkpoints are kept.
                for one in self._running:
                    one.process.end()
        self.summary.left += [work.label for group in self._waiting for work in group]
        return self.summary

    def _fill(self) -> None:
        while not self._pressure and self._waiting and len(self._running) < self._workers:
            self._begin(self._waiting.popleft())

    def _begin(self, group: deque[Work]) -> None:
        """Start the first run of a group that can be started."""
        while group:
            work = group.popleft()
            try:
                process = self._executor.submit(work.argv, self._environment, work.log)
            except Exception as error:  # an executor of any kind: the run failed, the others go on
                self._failed(work, f"it cannot be started: {one_line(error)}", 0.0)
                continue
            self._running.append(_Running(work, process, self._clock(), group))
            return

    def _collect(self) -> None:
        """Take in the runs that have ended; their workers go on."""
        for one in [one for one in self._running if one.process.exit_code() is not None]:
            self._running.remove(one)
            code = one.process.exit_code()
            one.process.end()
            self._judge(one.work, code or 0, self._clock() - one.began)
            if self._pressure:
                self.summary.left += [work.label for work in one.rest]
            else:
                self._begin(one.rest)

    def _judge(self, work: Work, code: int, seconds: float) -> None:
        if code in _STOPPED or (code == _KILLED and self._pressure == _KILL):
            self.summary.left.append(work.label)
            _say("stopped", work, seconds, "")
        elif code:
            self._failed(work, f"exit code {code}: {_last_words(work.log)}", seconds)
        else:
            self._read(work, seconds)

    def _read(self, work: Work, seconds: float) -> None:
        """A run that says it ended well is done if its result is there, and in no other case."""
        try:
            result = work.finished()
        except Exception as error:  # whatever is wrong with one result, the other runs go on
            self._failed(work, f"exit code 0, but {one_line(error)}", seconds)
            return
        if result is None:
            self._failed(work, f"exit code 0, but there is no result {shown(work.path)}", seconds)
            return
        self.summary.done.append(work.label)
        metrics = " ".join(f"{name}={value:.5g}" for name, value in result.metrics.items())
        _say("done", work, seconds, metrics)

    def _failed(self, work: Work, reason: str, seconds: float) -> None:
        self.summary.failed.append((work.label, f"{reason}; log: {shown(work.log)}"))
        _say("FAILED", work, seconds, reason)

    def _press(self) -> None:
        """Ask the runs to stop, harder each time: after a signal, at the time limit, when patience ends."""
        now, pressure = self._clock(), max(self._pressure, min(self._signals, _KILL))
        if self._end is not None and now >= self._end:
            pressure = max(pressure, _AT_A_CHECKPOINT)
        if self._pressure and now - self._pressed >= _PATIENCE.get(self._pressure, float("inf")):
            pressure = max(pressure, self._pressure + 1)
        if pressure == self._pressure:
            return
        self._pressure, self._pressed = pressure, now
        said = {_AT_A_CHECKPOINT: "at their next checkpoint", _AT_ONCE: "at once", _KILL: "by force"}
        print(f"stopping the runs {said[pressure]} ...", file=sys.stderr, flush=True)
        for one in self._running:
            if pressure == _KILL:
                one.process.end()
            else:
                one.process.stop()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Within the block a signal asks the runs to stop; the main thread alone may handle signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        # The terminal was closed; under nohup it is ignored, and stays so.
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._signalled) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: types.FrameType | None) -> None:
        # The loop does the rest: it looks several times a second.
        self.summary.signal = number
        self._signals += 1


def _say(word: str, work: Work, seconds: float, more: str) -> None:
    print(f"{word}: {work.label} in {seconds:.0f} s  {more}".rstrip(), flush=True)


def _last_words(log: Path) -> str:
    """The error at the end of a log, in one line."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"its log cannot be read: {error}"
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    chosen = lines[errors[-1] :] if errors else lines[-5:]
    text = "; ".join(line.strip() for line in chosen[:8] if line.strip())
    # What a plug-in prints must not reach the terminal's controls.
    return "".join(character if character.isprintable() else "?" for character in text)
