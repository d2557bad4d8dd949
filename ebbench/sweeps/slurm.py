"""Run a sweep as Slurm jobs, through the package submitit."""

from __future__ import annotations

import contextlib
import math
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ebbench.errors import UsageError
from ebbench.storage.files import home
from ebbench.sweeps.executors import Handle, Resources
from ebbench.sweeps.node import NodeHandle, NodeRun
from ebbench.sweeps.outcome import new_submission, outcome_file
from ebbench.sweeps.profile import Profile, needed

# Seconds between two looks at the outcomes, and between two calls of squeue.
_LOOK, _ASK = 1.0, 15.0


class _Checkpointed(NodeRun):
    """A run that submitit puts back into the queue when its time is nearly over."""

    def checkpoint(self) -> Any:
        """Stop the run at a checkpoint. Submitit queues the returned submission instead of this one."""
        from submitit.helpers import DelayedSubmission

        self.stop()
        return DelayedSubmission(self.again())


class Slurm:
    """Submits each run as a job. Runs that are submitted `together` become one job array.

    With `cluster` "local", submitit simulates Slurm by processes of this machine. `ask` is the number of
    seconds between two calls of squeue.
    """

    preempts = True

    def __init__(self, profile: Profile, *, cluster: str = "slurm", ask: float = _ASK) -> None:
        submitit = needed("submitit", "slurm")
        try:
            self._executor = submitit.AutoExecutor(
                folder=home() / "slurm" / "%j", cluster=cluster, slurm_max_num_timeout=profile.requeues
            )
        except RuntimeError as error:
            raise UsageError(
                f"Slurm cannot be used: {error}",
                where="--executor slurm",
                expected="the commands sbatch, srun and squeue",
                fix="start the sweep on a machine of the cluster, or use --executor local",
            ) from error
        self._profile = profile
        self._waiting: dict[Resources, list[_Job]] | None = None
        self._queue = _Queue(ask) if cluster == "slurm" else None

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        """Queue a run. Raises the error of submitit if sbatch refuses it."""
        outcome = outcome_file(log)
        outcome.unlink(missing_ok=True)
        run = _Checkpointed(argv, dict(environment), log, outcome, new_submission())
        job = _Job(run, self._queue)
        if self._waiting is None:
            self._queued([job], resources)
        else:
            self._waiting.setdefault(resources, []).append(job)
        return job

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Runs submitted within this context become one job array for each kind of resources."""
        self._waiting = {}
        try:
            yield
            for resources, jobs in self._waiting.items():
                self._queued(jobs, resources)
        finally:
            self._waiting = None

    def _queued(self, jobs: Sequence[_Job], resources: Resources) -> None:
        profile = self._profile
        words: dict[str, Any] = {
            "name": "ebbench",
            "timeout_min": max(1, int(profile.seconds // 60)),
            "cpus_per_task": resources.cores,
            "slurm_signal_delay_s": profile.notice,
            # Slurm puts a job back into the queue if its node is lost.
            "slurm_additional_parameters": {"requeue": True} | profile.options,
        }
        if profile.partition:
            words["slurm_partition"] = profile.partition
        if profile.memory:
            words["mem_gb"] = profile.memory
        if resources.gpus:
            words["gpus_per_node"] = math.ceil(resources.gpus)
        self._executor.update_parameters(**words)
        with self._executor.batch():
            made = [self._executor.submit(job.run) for job in jobs]
        for job, one in zip(jobs, made, strict=True):
            job.job = one

    def wait(self, handles: Sequence[Handle]) -> None:
        """Wait a second (a tenth for `cluster` "local"), unless a run has ended."""
        if all(handle.poll() is None for handle in handles):
            time.sleep(_LOOK if self._queue is not None else _LOOK / 10)

    def close(self) -> None:
        """Do nothing: jobs that are queued stay queued. None are left after a sweep."""


class _Queue:
    """The jobs of this user that Slurm has. `number` counts the answers of squeue."""

    def __init__(self, ask: float) -> None:
        self._ask, self._asked = ask, -math.inf
        self._jobs: set[str] | None = None
        self.number = 0

    def lacks(self, job: str) -> bool:
        """Whether Slurm has no such job, by the last answer of squeue. Asks again if that is old."""
        if time.monotonic() - self._asked >= self._ask:
            self._asked = time.monotonic()
            self._jobs = self._answer()
            self.number += self._jobs is not None
        return self._jobs is not None and job not in self._jobs

    def _answer(self) -> set[str] | None:
        """The jobs that wait or run; None if Slurm does not answer."""
        words = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return set(done.stdout.split()) if done.returncode == 0 else None


class _Job(NodeHandle):
    def __init__(self, run: NodeRun, queue: _Queue | None) -> None:
        super().__init__(run)
        # Submitit's job, once the run is queued.
        self.job: Any = None
        self._queue = queue
        self._missed: int | None = None

    def cancel(self) -> None:
        super().cancel()
        if self._queue is not None:
            # A pending job cannot read the file that asks it to end.
            _scancel(["--state=PENDING", self.job.job_id])

    def _gone(self) -> bool:
        if self._queue is None:
            return bool(self.job.done())
        if not self._queue.lacks(self.job.job_id):
            self._missed = None
            return False
        # Wait until two more answers lack the job: the outcome of a job that has just ended needs time to
        # reach this machine.
        if self._missed is None:
            self._missed = self._queue.number
        return self._queue.number > self._missed + 1

    def _kill(self) -> None:
        if self._queue is not None:
            _scancel([self.job.job_id])
        else:
            until = time.monotonic() + 10
            while not self.job.done() and time.monotonic() < until:
                time.sleep(_LOOK / 10)


def _scancel(words: list[str]) -> None:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--quiet", *words], capture_output=True, timeout=60, check=False)
