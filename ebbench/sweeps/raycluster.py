"""Run a sweep as Ray tasks, on a cluster or on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ebbench.errors import UsageError
from ebbench.sweeps.executors import Handle, Resources
from ebbench.sweeps.node import NodeHandle, NodeRun
from ebbench.sweeps.outcome import new_submission, outcome_file
from ebbench.sweeps.profile import Profile, needed

_LOOK = 0.1
# Bytes of Ray's shared memory. Little is enough: a run returns only a number.
_SHARED = 80 * 2**20


class Ray:
    """Submits each run as a Ray task that starts a process.

    If the profile has no address, a cluster starts on this machine and ends with the sweep. It has room for
    `workers` runs of `resources`, and `gpus` cards.
    """

    preempts = True

    def __init__(self, profile: Profile, workers: int, resources: Resources, gpus: int = 0) -> None:
        # Ray must not send usage statistics. It must not hide the graphics cards from a task that takes none.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        self._ray = needed("ray", "ray")
        here: dict[str, Any] = {
            "num_cpus": workers * resources.cores,
            "num_gpus": gpus,
            "include_dashboard": False,
            "object_store_memory": _SHARED,
        }
        try:
            self._ray.init(
                **({"address": profile.address} if profile.address else here),
                log_to_driver=False,
                logging_level="error",
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"Ray's cluster cannot be reached: {str(error).splitlines()[0]}",
                where=f"address {profile.address or 'of this machine'}",
                expected='the address of a running cluster, such as "ray://HEAD:10001"',
                fix="`ray status` says whether it runs; without an address one is started on this machine",
            ) from error

    def submit(
        self, argv: Sequence[str], environment: Mapping[str, str], resources: Resources, log: Path
    ) -> Handle:
        """Submit a run. Ray starts it on a node with free resources."""
        outcome = outcome_file(log)
        outcome.unlink(missing_ok=True)
        run = NodeRun(argv, dict(environment), log, outcome, new_submission())
        # The sweep submits a lost run again and counts how often, so Ray must not retry.
        task = self._ray.remote(num_cpus=resources.cores, num_gpus=resources.gpus, max_retries=0)(_call)
        return _Task(run, self._ray, task.remote(run))

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing: tasks are submitted one by one."""
        yield

    def wait(self, handles: Sequence[Handle]) -> None:
        """Wait a tenth of a second, or until one of the tasks has ended."""
        tasks = [one.task for one in handles if isinstance(one, _Task)]
        if tasks:
            self._ray.wait(tasks, timeout=_LOOK)
        else:
            import time

            time.sleep(_LOOK)

    def close(self) -> None:
        """Leave the cluster. A cluster that was started here ends."""
        self._ray.shutdown()


def _call(run: NodeRun) -> int:
    sys.stdout.flush()
    return run()


class _Task(NodeHandle):
    def __init__(self, run: NodeRun, ray: Any, task: Any) -> None:
        super().__init__(run)
        self._ray, self.task = ray, task

    def cancel(self) -> None:
        super().cancel()
        if not self.run.outcome.exists():
            # The task has not begun, so it cannot read the file that asks it to end.
            self._ray.cancel(self.task)

    def _gone(self) -> bool:
        ended, _ = self._ray.wait([self.task], timeout=0)
        return bool(ended)

    def _kill(self) -> None:
        # A running task ends once it has read the request to end. One that has not begun never reads it.
        ended, _ = self._ray.wait([self.task], timeout=5)
        if not ended:
            self._ray.cancel(self.task, force=True)
