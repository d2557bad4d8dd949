"""`ebbench run`: train and score one model on one task."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ebbench.cli.completion import model_names, task_names
from ebbench.cli.outcome import print_outcome, stdout_kept_clean
from ebbench.errors import UsageError

if TYPE_CHECKING:
    from ebbench.data.store import Store
    from ebbench.sweeps.plan import Job
    from ebbench.sweeps.work import Tasks


def run(
    task: Annotated[
        str, typer.Option(help="A task's name, or the path of its folder.", autocompletion=task_names)
    ],
    model: Annotated[
        str,
        typer.Option(
            help="A model's name, or the path of its folder; NAME:VARIANT for a variant.",
            autocompletion=model_names,
        ),
    ],
    budget: Annotated[
        str, typer.Option(help="Amount of training: smoke (seconds), cpu (half an hour) or paper (a GPU).")
    ] = "cpu",
    protocol: Annotated[
        str, typer.Option(help="How to measure, such as clean or published; default: the task's first.")
    ] = "",
    sampler: Annotated[str, typer.Option(help="Which of the model's samplers to score.")] = "",
    seeds: Annotated[
        list[str] | None, typer.Option(help="Such as 0-4 or 0,2,7; default 0. May be given again.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A task option, a model's knob, or SAMPLER.KNOB."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(help="Threads on the CPU; 0 takes every core.")] = 0,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Seeds (or parts of a seed) that run at a time; they share the threads."),
    ] = 1,
    time_limit: Annotated[
        str, typer.Option(help="Stop at a checkpoint after this time, such as 9m; the same command resumes.")
    ] = "",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    results: Annotated[Path, typer.Option(help="Where results are written.")] = Path("results"),
    force: Annotated[
        bool, typer.Option("--force", help="Train and score again, even if the result exists.")
    ] = False,
    log: Annotated[str, typer.Option(help="Log the training for tensorboard, wandb or as jsonl.")] = "",
    log_dir: Annotated[Path, typer.Option(help="Where tensorboard and jsonl are written.")] = Path("logs"),
    isolated: Annotated[
        bool,
        typer.Option("--isolated", help="Run the model in its own process, in a sandbox without a network."),
    ] = False,
    unboxed: Annotated[
        bool,
        typer.Option("--unboxed", help="--isolated without the sandbox: the code can do all that you can."),
    ] = False,
    until: Annotated[
        str,
        typer.Option(help="Stop early, without a score: after `training`, or after the model's `base`."),
    ] = "",
    part: Annotated[
        list[str] | None, typer.Option(help="With --until: a part to train. May be given again.")
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="Exit with code 75 if another process runs this training."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Train a model on a task, score it, and write one result per seed.

    An interrupted run resumes with the same command. A finished run is not repeated. The exit code is 0 if
    every seed has its result, 2 after a mistake, 124 after the time limit, 130 or 143 after Ctrl-C or
    SIGTERM, and 75 if --no-wait found another process at the same training. With --workers, it is 1 if a
    seed failed.
    """
    from ebbench import api
    from ebbench.plugins import loader
    from ebbench.running import loggers, words

    if (part and not until) or (until and (as_json or force)):
        raise UsageError(
            "--part needs --until" if part and not until else "--until makes no result to print or repeat",
            where="--part" if part and not until else "--until",
            expected="--until training --part NAME, without --json and --force",
            fix="add --until, or leave out --part" if part and not until else "leave out --json and --force",
        )
    alone = {"--force": force, "--log": log, "--isolated": isolated, "--until": until, "--no-wait": no_wait}
    if workers > 1 and any(alone.values()):
        raise UsageError(
            f"{next(option for option, given in alone.items() if given)} does not work with several workers",
            where="--workers",
            expected="only one of the two options",
            fix="leave out --workers",
        )
    # The environment before any plug-in is loaded: one plug-in's changes must not reach another's runs.
    environment = dict(os.environ)
    document = []
    with stdout_kept_clean(as_json):
        how: dict[str, Any] = dict(
            budget=budget,
            protocol=protocol,
            sampler=sampler,
            seeds=seeds or "0",
            settings=words.parse_settings(set_ or []),
            device=device,
            data_dir=data_dir,
            results=results,
            force=force,
            threads=threads,
            time_limit=time_limit or None,
            quiet=quiet,
            isolated=isolated,
            unboxed=unboxed,
            logger=loggers.named(log, log_dir) if log else None,
            wait=not no_wait,
        )
        if until:
            for line in api.trainings(task, model, until=until, parts=part or (), **how):
                typer.echo(f"trained: {line}")
            return
        outcomes = api.runs(task, model, **how)
        made: set[int] = set()
        if workers > 1:
            made = _side_by_side(task, model, how, workers, environment)
        for outcome in outcomes:
            if outcome.result.seed in made:
                outcome = replace(outcome, existed=False)
            if as_json:
                result = outcome.result.model_dump(mode="json")
                document.append({"path": str(outcome.path), "existed": outcome.existed, "result": result})
            else:
                print_outcome(outcome, loader.load("task", task).cls.metrics)
    if as_json:
        typer.echo(json.dumps(document, indent=2, allow_nan=False))


def _side_by_side(
    task: str, model: str, how: dict[str, Any], workers: int, environment: dict[str, str]
) -> set[int]:
    """Make the runs in their own processes and return the seeds that were made. Exit if one is not done."""
    from ebbench.data.store import Store
    from ebbench.running import words
    from ebbench.running.request import Request
    from ebbench.running.spec import resolve
    from ebbench.sweeps.plan import Job
    from ebbench.sweeps.sweep import sweep
    from ebbench.sweeps.work import Tasks

    request = Request(
        task=task,
        model=model,
        budget=how["budget"],
        protocol=how["protocol"],
        sampler=how["sampler"],
        set=how["settings"],
    )
    spec = resolve(request)
    store = Store(how["data_dir"])
    tasks = Tasks(store)
    # An error in the task or its data is no seed's fault. It is reported once, before anything runs.
    tasks.of(spec)
    jobs = [Job(request, spec, seed) for seed in words.parse_seeds(how["seeds"])]
    _bring_data(jobs, store, tasks, how["results"])
    with open(os.devnull, "w") as nowhere:
        # What a sweep prints as lines counts as progress here.
        lines = nowhere if how["quiet"] else sys.stderr
        with contextlib.redirect_stdout(lines):
            summary = sweep(
                jobs,
                workers=workers,
                threads=how["threads"],
                device=how["device"],
                data_dir=how["data_dir"],
                results=how["results"],
                seconds=words.parse_duration(how["time_limit"]) if how["time_limit"] else None,
                environment=environment,
            )
    if summary.exit_code:
        typer.echo(summary.text())
        raise typer.Exit(summary.exit_code)
    return {job.seed for job in jobs if job.label() in summary.done}


def _bring_data(jobs: list[Job], store: Store, tasks: Tasks, results: Path) -> None:
    """Download the data that the remaining runs lack, once for all. Raises DataError if that fails."""
    import torch

    from ebbench.data.registry import DATASETS
    from ebbench.plugins.guard import plugin_code
    from ebbench.storage.files import absolute
    from ebbench.sweeps.summary import Summary
    from ebbench.sweeps.work import runs_left

    left = runs_left(jobs, absolute(results, "--results"), tasks, [], Summary())
    if not left:
        return
    job = left[0].job
    task = job.spec.task
    with plugin_code(task, None, "parts"):
        parts = list(tasks.of(job.spec).parts(job.seed).values())
    named = {file for part in parts for file in part.data_hashes}
    sets = [name for name, entry in DATASETS.items() if named & {file.name for file in entry.files}]
    lacking = {file.file for name in sets for file in store.survey(name) if file.state != "ok"}
    for part in parts:
        # The task itself knows which form of a file it takes.
        if lacking & set(part.data_hashes):
            with plugin_code(task, None, "data"):
                part.data(torch.device("cpu"))
