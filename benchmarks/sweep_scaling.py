"""Measure what a sweep costs beyond the runs themselves, by executor and number of workers.

    python benchmarks/sweep_scaling.py [--jobs 40] [--executors local submitit ray] [--workers 1 2]

The same small runs (a control on the toys, scored in a second or two) by each. `submitit` is its own executor
of local processes, in place of Slurm. The overhead is the time of a worker for each run, less that of the
same run by hand (the median of five). The efficiency is the time with one worker over N times that with N.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

RUN = ("--task", "toy2d", "--model", "uniform-noise", "--budget", "smoke", "--quiet", "--threads", "1")
PLAN = """[[runs]]
tasks = ["toy2d"]
models = ["uniform-noise"]
budgets = ["smoke"]
seeds = "0-{last}"
"""


def by_hand(environment: Mapping[str, str], folder: Path) -> float:
    """Seconds of one run in its own process: the median of five."""
    taken = []
    for seed in range(1000, 1005):
        argv = [sys.executable, "-m", "ebbench.cli.main", "run", *RUN]
        argv += ["--seeds", str(seed), "--results", str(folder / "by-hand")]
        began = time.perf_counter()
        subprocess.run(argv, env=dict(environment), check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def by_sweep(kind: str, workers: int, plan: Path, results: Path) -> float:
    """Seconds of a sweep of the plan; a run that failed ends the benchmark."""
    from ebbench.sweeps.executors import Executor, Resources
    from ebbench.sweeps.plan import read_plan
    from ebbench.sweeps.profile import Profile
    from ebbench.sweeps.sweep import sweep

    jobs = read_plan(plan)
    began = time.perf_counter()
    executor: Executor | None = None
    if kind == "submitit":
        from ebbench.sweeps.slurm import Slurm

        executor = Slurm(Profile(seconds=3600.0), cluster="local")
    elif kind == "ray":
        from ebbench.sweeps.raycluster import Ray

        executor = Ray(Profile(), workers, Resources(1, 0.0))
    summary = sweep(
        jobs,
        workers=workers,
        threads=workers,
        device="cpu",
        data_dir=None,
        results=results,
        executor=executor,
        resources=None if executor is None else Resources(1, 0.0),
    )
    taken = time.perf_counter() - began
    if summary.exit_code:
        sys.exit(summary.text())
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--executors", nargs="+", default=["local", "submitit", "ray"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ["EBBENCH_HOME"] = str(folder / "home")
        plan = folder / "plan.toml"
        plan.write_text(PLAN.format(last=asked.jobs - 1), encoding="utf-8")
        alone = by_hand(os.environ, folder)
        print(f"one run by hand: {alone:.2f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print("executor  workers  seconds  overhead a run  efficiency")
        for kind in asked.executors:
            first: float | None = None
            for workers in asked.workers:
                taken = by_sweep(kind, workers, plan, folder / f"{kind}-{workers}")
                first = taken if workers == 1 else first
                overhead = taken * workers / asked.jobs - alone
                efficiency = f"{first / (workers * taken):.2f}" if first else "-"
                print(
                    f"{kind:8}  {workers:7}  {taken:7.1f}  {overhead:12.2f} s  {efficiency:>10}", flush=True
                )


if __name__ == "__main__":
    main()
