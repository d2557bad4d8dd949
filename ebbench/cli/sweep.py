"""`ebbench sweep`: every run of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebbench.sweeps.plan import Job


def sweep(
    plan: Annotated[Path, typer.Argument(help="A TOML file; see docs/plans.md.")],
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; default 1 here, 64 on Slurm.")
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            min=0, help="Threads shared by the workers (0: every core). On a cluster, threads of each run."
        ),
    ] = 0,
    executor: Annotated[
        str, typer.Option(help="Where runs are executed: local, slurm or ray; default local.")
    ] = "",
    profile: Annotated[
        Path | None, typer.Option(help="A TOML file with an [executor] table, in place of the plan's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    results: Annotated[Path, typer.Option(help="Where results are written.")] = Path("results"),
    plan_as_job: Annotated[
        bool,
        typer.Option(
            "--plan-as-job", help="Read the plan in a job too, so that this machine needs no data sets."
        ),
    ] = False,
    time_limit: Annotated[
        str, typer.Option(help="Stop at a checkpoint after this time, such as 9m; the next call resumes.")
    ] = "",
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Show the progress of each run: a live table on a terminal, else lines."
        ),
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say how long the remaining runs will take, and run nothing.")
    ] = False,
) -> None:
    """Run a plan: skip finished runs, resume interrupted ones, and go on after a failure.

    The exit code is 1 if a run failed, 124 if runs are left after the time limit, 130 or 143 after Ctrl-C
    or SIGTERM, else 0.
    """
    import contextlib
    import os

    from ebbench.errors import UsageError
    from ebbench.running.words import parse_duration
    from ebbench.sweeps.choose import chosen
    from ebbench.sweeps.profile import read_profile
    from ebbench.sweeps.sweep import sweep as run_plan

    # The environment before any plug-in is loaded: one plug-in's changes must not reach another's runs.
    environment = dict(os.environ)
    seconds = parse_duration(time_limit) if time_limit else None
    if plan_as_job and (watch or estimate):
        option = "--watch" if watch else "--estimate"
        raise UsageError(
            f"{option} reads the plan on this machine, but --plan-as-job reads it on another",
            where="ebbench sweep",
            expected="one of the two",
            fix=f"leave out one; without {option} the sweep prints a line for each run that ends",
        )
    if plan_as_job:
        jobs: list[Job] | Path = plan
    else:
        from ebbench.sweeps.plan import read_plan

        jobs = read_plan(plan)
        if estimate:
            typer.echo(_estimated(jobs, results, data_dir, workers or 1))
            return
    given = read_profile(profile) if profile else read_profile(plan, "plan")
    engine, most, resources = chosen(given, kind=executor, workers=workers, threads=threads, device=device)
    with contextlib.ExitStack() as shown:
        if watch and not isinstance(jobs, Path):
            from ebbench.cli.watching import watched
            from ebbench.storage.files import absolute
            from ebbench.sweeps.survey import Survey

            shown.enter_context(watched(Survey(jobs, absolute(results, "--results"), data_dir)))
        summary = run_plan(
            jobs,
            workers=most,
            threads=threads,
            executor=engine,
            resources=resources,
            device=device,
            data_dir=data_dir,
            results=results,
            seconds=seconds,
            environment=environment,
        )
    typer.echo(summary.text())
    raise typer.Exit(summary.exit_code)


def _estimated(jobs: list[Job], results: Path, data_dir: Path | None, workers: int) -> str:
    """The lines of `--estimate`."""
    from ebbench.data.store import Store
    from ebbench.record.resultfiles import results_to_read
    from ebbench.sweeps.estimate import buildable, estimate, table
    from ebbench.sweeps.summary import Summary
    from ebbench.sweeps.work import Tasks, runs_left

    folder, summary = results_to_read(results), Summary()
    tasks = Tasks(Store(data_dir))
    left = buildable(runs_left(jobs, folder, tasks, [], summary), tasks, summary)
    lines = [f"{len(summary.existed)} done before, {len(summary.failed)} cannot be run, {len(left)} left"]
    if not folder.exists():
        lines.append(f"there is no folder {results}, so all times come from the models' cards")
    lines += summary.failures("cannot be run")
    return "\n".join([*lines, table(estimate(left, folder), workers)])
