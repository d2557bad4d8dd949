"""Make the runs of a plan, several at a time, each in its own process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ebbench.device import SHARED_GPU, gpus_for
from ebbench.errors import shown
from ebbench.running.signals import BUSY, TIME_IS_UP
from ebbench.storage.files import absolute
from ebbench.storage.runstore import check_writable
from ebbench.sweeps.executors import KILLED, TERMINATED, Executor, Handle, LocalProcesses, Resources
from ebbench.sweeps.outcome import last_words
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.work import Work, one_line
from ebbench.threads import COUNT, usable_cores

if TYPE_CHECKING:
    from ebbench.sweeps.plan import Job

# The exit codes of a run that was stopped. The run continues when its command is given again.
_STOPPED = {TIME_IS_UP, 128 + signal.SIGINT, TERMINATED}
# The pressure on the runs to stop: at a checkpoint, at once, by being killed. 0 is no pressure.
_AT_A_CHECKPOINT, _AT_ONCE, _KILL = 1, 2, 3
# If the runs have not stopped after so many seconds, the pressure rises.
_PATIENCE = {_AT_A_CHECKPOINT: 120.0, _AT_ONCE: 30.0}
# How often a run is submitted again after it was killed or lost with its node. After that, the run itself is
# probably the cause.
_KILLS = 2
# How often a run is submitted again after a cluster stopped it. Such a run makes progress each time.
_PREEMPTIONS = 1000
# Seconds before a run that another process is making is tried again: at first, and at most.
_BUSY_AT_FIRST, _BUSY_AT_MOST = 2.0, 120.0


def sweep(
    jobs: Iterable[Job] | Path,
    *,
    workers: int,
    threads: int,
    device: str,
    data_dir: Path | None,
    results: Path,
    seconds: float | None = None,
    environment: Mapping[str, str] | None = None,
    executor: Executor | None = None,
    resources: Resources | None = None,
) -> Summary:
    """Run the jobs, `workers` at a time. The workers share `threads` threads (0: every core).

    - `jobs` may be the file of a plan. Then a job of the executor reads it, where the data sets are.
    - After `seconds`, the runs stop at their next checkpoint, and no run begins.
    - `environment` is that of the runs. The default is the environment of this process.
    - `executor` starts the runs. The default runs them on this machine.
    - `resources` is what one run takes, for an executor other than the default.

    Raises StorageError if `results` cannot be written, and UsageError for a plan that cannot be read.
    """
    results = absolute(results, "--results")
    check_writable(results)
    variables = dict(os.environ if environment is None else environment)
    if resources is None:
        cards = gpus_for(device, variables)
        resources = Resources(max(1, (threads or usable_cores()) // workers), 1.0 if cards else 0.0)
        executor = executor or LocalProcesses(cards)
        shared = workers > max(1, len(cards))
    else:
        executor = executor or LocalProcesses()
        shared = bool(resources.gpus % 1)
    each = str(resources.cores)
    variables |= dict.fromkeys(COUNT, each)
    if shared:
        variables[SHARED_GPU] = "1"
    # With --no-wait, a run that another process is making ends at once and frees its worker.
    options = ["--threads", each, "--device", device, "--results", str(results), "--no-wait"]
    options += ["--data-dir", str(data_dir)] if data_dir else []
    summary = Summary()
    try:
        if isinstance(jobs, Path):
            from ebbench.sweeps.planned import Asked, find_work_elsewhere

            plan = absolute(jobs, "PLAN")
            asked = Asked(str(plan), str(results), str(data_dir) if data_dir else None, options, workers)
            works = find_work_elsewhere(asked, summary, executor, variables, resources)
        else:
            from ebbench.data.store import Store
            from ebbench.sweeps.graph import find_work

            works = find_work(jobs, results, Store(data_dir), options, summary, workers=workers)
    except BaseException:
        executor.close()
        raise
    return Sweep(
        works, summary, executor, workers, environment=variables, resources=resources, seconds=seconds
    ).run()


@dataclass(eq=False)
class _Item:
    """A piece of work that is not over.

    `begins` is the earliest time to start it. The counts say how often it was submitted again, by reason.
    """

    work: Work
    begins: float = 0.0
    kills: int = 0
    preemptions: int = 0
    busy: int = 0


@dataclass(frozen=True)
class _Running:
    """A piece of work that is running, and the time when it began."""

    item: _Item
    handle: Handle
    began: float


class Sweep:
    """Keeps `workers` runs going until none is left, a signal arrives, or the time is over.

    A piece of work begins once the work that it needs is over, and takes no worker before. Everything happens
    in one thread. `clock` gives seconds.
    """

    def __init__(
        self,
        works: Iterable[Work],
        summary: Summary,
        executor: Executor,
        workers: int,
        *,
        environment: Mapping[str, str],
        resources: Resources | None = None,
        seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = summary
        self._waiting = [_Item(work) for work in works]
        # The work that is over, with the reason why it failed, or "".
        self._over: dict[Work, str] = {}
        self._running: list[_Running] = []
        self._executor, self._workers, self._environment = executor, workers, environment
        self._resources = resources or Resources()
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds
        self._signals = 0
        self._pressure = 0
        self._pressed = 0.0

    def run(self) -> Summary:
        """Run all work, and return the summary. A failing run does not stop the others."""
        with self._listening():
            try:
                self._fill()
                while self._running or (self._waiting and not self._pressure):
                    self._executor.wait([one.handle for one in self._running])
                    self._press()
                    self._collect()
                    self._fill()
            finally:
                # Runs are left here only after an error of the sweep itself. Their checkpoints are kept.
                for one in self._running:
                    one.handle.end()
                self._executor.close()
        self.summary.left += [item.work.label for item in self._waiting if not item.work.training]
        return self.summary

    def _fill(self) -> None:
        """Begin work that may begin, as long as workers are free."""
        if self._pressure or len(self._running) >= self._workers:
            return
        begun: list[_Running] = []
        try:
            with self._executor.together():
                for item in list(self._waiting):
                    if len(self._running) + len(begun) >= self._workers:
                        break
                    if self._may_begin(item):
                        self._waiting.remove(item)
                        begun += self._begin(item)
        except Exception as error:  # any error of an executor fails all work that was submitted together
            for one in begun:
                self._failed(one.item.work, f"it cannot be started: {one_line(error)}", 0.0)
            return
        self._running += begun

    def _may_begin(self, item: _Item) -> bool:
        """Whether a piece of work may begin now. If a training that it needs failed, it fails too."""
        needs = item.work.needs
        lacking = [need for need in needs if need.training and self._over.get(need)]
        if lacking:
            self._waiting.remove(item)
            self._failed(item.work, f"{lacking[0].label} failed: {self._over[lacking[0]]}", 0.0)
            return False
        return item.begins <= self._clock() and all(need in self._over for need in needs)

    def _begin(self, item: _Item) -> list[_Running]:
        """Start a piece of work, and return it.

        Return an empty list if another process has done the work meanwhile, or if it cannot be started.
        """
        work = item.work
        with contextlib.suppress(Exception):  # an error of its result is reported at its end
            if work.finished() is not None:
                self._over[work] = ""
                if not work.training:
                    self.summary.existed.append(work.label)
                return []
        try:
            handle = self._executor.submit(work.argv, self._environment, self._resources, work.log)
        except Exception as error:  # any error of an executor fails this run only
            self._failed(work, f"it cannot be started: {one_line(error)}", 0.0)
            return []
        return [_Running(item, handle, self._clock())]

    def _collect(self) -> None:
        """Handle each running piece of work that has ended."""
        for one in self._running[:]:
            code = one.handle.poll()
            if code is None:
                continue
            self._running.remove(one)
            one.handle.end()
            self._judge(one.item, code, self._clock() - one.began)

    def _judge(self, item: _Item, code: int, seconds: float) -> None:
        work, pressed = item.work, self._pressure
        if pressed and (code in {*_STOPPED, BUSY} or (code == KILLED and pressed == _KILL)):
            self._leave(work, seconds)
        elif code == BUSY:
            pause = min(_BUSY_AT_MOST, _BUSY_AT_FIRST * 2**item.busy)
            if not item.busy:
                _say("waiting", work, seconds, "another process is working on it; trying again later")
            item.busy += 1
            self._again(item, pause)
        elif code == KILLED and item.kills < _KILLS and not pressed:
            item.kills += 1
            _say("again", work, seconds, "it was killed, or its machine was lost")
            self._again(item)
        elif code in _STOPPED and self._executor.preempts and item.preemptions < _PREEMPTIONS:
            item.preemptions += 1
            _say("again", work, seconds, "it was stopped at a checkpoint")
            self._again(item)
        elif code in _STOPPED:
            self._leave(work, seconds)
        elif code:
            self._failed(work, f"exit code {code}: {last_words(work.log)}", seconds)
        else:
            self._read(work, seconds)

    def _again(self, item: _Item, pause: float = 0.0) -> None:
        item.begins = self._clock() + pause
        # Work that continues comes before work that has not begun.
        self._waiting.insert(0, item)

    def _leave(self, work: Work, seconds: float) -> None:
        if work.training:
            # The work that needs this training is left too.
            left = [item for item in self._waiting if _needs(item.work, work)]
            self._waiting = [item for item in self._waiting if item not in left]
            self.summary.left += [item.work.label for item in left if not item.work.training]
        else:
            self.summary.left.append(work.label)
        self._over[work] = ""
        _say("stopped", work, seconds, "")

    def _read(self, work: Work, seconds: float) -> None:
        """Check the result of a run that ended with exit code 0: without a valid result, the run failed."""
        try:
            result = work.finished()
        except Exception as error:  # an invalid result must not stop the other runs
            self._failed(work, f"exit code 0, but {one_line(error)}", seconds)
            return
        if result is None:
            self._failed(work, f"exit code 0, but there is no result {shown(work.path)}", seconds)
            return
        self._over[work] = ""
        if not work.training:
            self.summary.done.append(work.label)
        metrics = " ".join(f"{name}={value:.5g}" for name, value in result.metrics.items())
        _say("done", work, seconds, metrics)

    def _failed(self, work: Work, reason: str, seconds: float) -> None:
        self._over[work] = reason
        if not work.training:
            self.summary.failed.append((work.label, f"{reason}; log: {shown(work.log)}"))
        _say("FAILED", work, seconds, reason)

    def _press(self) -> None:
        """Raise the pressure on the runs to stop: after a signal, at the time limit, or after `_PATIENCE`."""
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
                one.handle.end()
            else:
                one.handle.cancel()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Within this context, a signal asks the runs to stop. Only the main thread may handle signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        # SIGHUP says that the terminal was closed. Under nohup it is ignored, and must stay so.
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._signalled) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: types.FrameType | None) -> None:
        # The loop of `run` acts on this: it looks several times a second.
        self.summary.signal = number
        self._signals += 1


def _say(word: str, work: Work, seconds: float, more: str) -> None:
    print(f"{word}: {work.label} in {seconds:.0f} s  {more}".rstrip(), flush=True)


def _needs(work: Work, other: Work) -> bool:
    """Whether `work` needs `other`, directly or through other work."""
    return any(need is other or _needs(need, other) for need in work.needs)
