"""A plan -> its runs, several at a time, each in a process of its own."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ebbench import contract
from ebbench.data.store import Store
from ebbench.device import SHARED_GPU
from ebbench.running import spec
from ebbench.running.words import run_command
from ebbench.storage.files import home
from ebbench.storage.hashing import content_hash
from ebbench.sweeps.plan import Job

# As of the command `timeout`.
TIME_IS_UP = 124


@dataclass
class Summary:
    """How a sweep ended; each list holds the labels of jobs."""

    done: list[str] = field(default_factory=list)
    existed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    signal: int | None = None
    time_is_up: bool = False

    @property
    def exit_code(self) -> int:
        """0; 1 if a run failed; 124 if the time limit left some; 128 + the signal that ended the sweep."""
        if self.signal is not None:
            return 128 + self.signal
        if self.failed:
            return 1
        return TIME_IS_UP if self.left else 0

    @property
    def ending(self) -> bool:
        """Whether no run may begin any more."""
        return self.signal is not None or self.time_is_up

    def text(self) -> str:
        """One line a kind, and the failures by name."""
        lines = [
            f"{len(self.done)} done, {len(self.existed)} done before, {len(self.failed)} failed, "
            f"{len(self.left)} left"
        ]
        lines += [f"failed: {label}" for label in self.failed]
        if self.left:
            lines.append("the same command goes on with what is left")
        return "\n".join(lines)


def sweep(
    jobs: Iterable[Job],
    *,
    workers: int,
    threads: int,
    device: str,
    data_dir: Path | None,
    results: Path,
    seconds: float | None = None,
) -> Summary:
    """Run the jobs, `workers` at a time; the workers share `threads` threads (0: every core).

    After `seconds` the runs stop at their next checkpoint, and none begins.
    """
    summary = Summary()
    total = threads or os.cpu_count() or 1
    environment = os.environ | {
        name: str(max(1, total // workers)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    if workers > 1:
        environment[SHARED_GPU] = "1"
    options = ["--device", device, "--results", str(results)]
    options += ["--data-dir", str(data_dir)] if data_dir else []
    # Jobs of one training follow one another in one worker: the second finds it in the store.
    groups: dict[str, list[Job]] = {}
    for job, training in _pending(jobs, results, data_dir, summary):
        groups.setdefault(training, []).append(job)
    running: set[subprocess.Popen[bytes]] = set()
    lock = threading.Lock()

    def work(group: list[Job]) -> None:
        for job in group:
            if summary.ending:
                with lock:
                    summary.left.append(job.label())
                continue
            began = time.monotonic()
            code, said = _run(job, options, environment, running, lock, summary)
            with lock:
                seconds = time.monotonic() - began
                if code == 0:
                    word = "done"
                    summary.done.append(job.label())
                elif code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
                    word = "stopped"
                    summary.left.append(job.label())
                else:
                    word = "FAILED"
                    summary.failed.append(f"{job.label()} (exit code {code})")
                print(f"{word}: {job.label()} in {seconds:.0f} s  {said}", flush=True)

    def end_runs() -> None:
        print("stopping the workers at their next step ...", file=sys.stderr, flush=True)
        for process in list(running):
            process.send_signal(signal.SIGTERM)

    def stop(number: int, frame: types.FrameType | None) -> None:
        summary.signal = number
        end_runs()

    def time_out() -> None:
        summary.time_is_up = True
        end_runs()

    timer = threading.Timer(seconds, time_out) if seconds is not None else None
    before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        if timer is not None:
            timer.start()
        with ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(work, group) for group in groups.values()]:
                future.result()
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    return summary


def _pending(
    jobs: Iterable[Job], results: Path, data_dir: Path | None, summary: Summary
) -> Iterable[tuple[Job, str]]:
    """The jobs without a result, each with a hash of the training that it begins with: its base's, if any.

    Jobs with a result are counted as done before.
    """
    store = Store(data_dir)
    tasks: dict[str, contract.Task] = {}
    known: dict[str, spec.Spec] = {}
    for job in jobs:
        asked = repr(job.request)
        if asked not in known:
            known[asked] = spec.resolve(job.request)
        resolved = known[asked]
        key = str((job.request.task, resolved.protocol, dataclasses.astuple(resolved.options)))
        if key not in tasks:
            tasks[key] = resolved.task.cls(resolved.options, resolved.protocol, store)
        name = f"{resolved.run_id(tasks[key], job.seed)}.json"
        if (results / resolved.task.name / resolved.model.name / name).exists():
            summary.existed.append(job.label())
        else:
            first = resolved
            while first.base is not None:
                first = first.base
            yield job, content_hash(first.training_key(tasks[key], job.seed))


def _log_name(job: Job) -> str:
    """The label as a file name, which 255 bytes must hold whatever was set."""
    label = job.label()
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in label)
    if len(plain) > 200:
        plain = f"{plain[:200]}-{content_hash({'label': label})[:10]}"
    return f"{plain}.log"


def _run(
    job: Job,
    options: list[str],
    environment: dict[str, str],
    running: set[subprocess.Popen[bytes]],
    lock: threading.Lock,
    summary: Summary,
) -> tuple[int, str]:
    """Run one job in a process of its own; its exit code, and its metrics or its error in a line."""
    command = [*run_command(job.request, str(job.seed)), *options]
    log = home() / "logs" / _log_name(job)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as errors:
        with lock:
            # A session of its own: Ctrl-C reaches the worker once, through the sweep.
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, env=environment, start_new_session=True
            )
            running.add(process)
            if summary.ending:
                process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
        running.discard(process)
    if process.returncode == 0:
        metrics = json.loads(output)[0]["result"]["metrics"]
        return 0, " ".join(f"{name}={value:.5g}" for name, value in metrics.items())
    said = log.read_text(errors="replace").strip().splitlines()
    # A process that a signal killed outright reports it as a negative number.
    return process.returncode if process.returncode >= 0 else 128 - process.returncode, "; ".join(
        line.strip() for line in said[-5:]
    )
