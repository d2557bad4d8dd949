"""`ebbench run`: train and score one model on one task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def run(
    task: Annotated[str, typer.Option(help="A task's name, or the path of its folder.")],
    model: Annotated[
        str, typer.Option(help="A model's name, or the path of its folder; NAME:VARIANT for a variant.")
    ],
    budget: Annotated[
        str, typer.Option(help="smoke (seconds), cpu (half an hour) or paper (a GPU).")
    ] = "cpu",
    protocol: Annotated[str, typer.Option(help="How to score; the task's first if not given.")] = "",
    sampler: Annotated[str, typer.Option(help="Which of the model's samplers to score.")] = "",
    seeds: Annotated[str, typer.Option(help="Such as 0-4 or 0,2,7.")] = "0",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A task option, a model's knob, or SAMPLER.KNOB."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    results: Annotated[Path, typer.Option(help="Where results are written.")] = Path("results"),
    force: Annotated[bool, typer.Option("--force", help="Train and score again what is done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Train a model on a task, score it, and write one result a seed.

    Interrupted at any moment, the same command goes on where it was. A finished run is only pointed at.
    """
    from ebbench.data.store import Store
    from ebbench.device import choose_device
    from ebbench.running import engine, progress, spec, words
    from ebbench.running.request import Request
    from ebbench.running.settings import Settings

    request = Request(
        task=task,
        model=model,
        budget=budget,
        protocol=protocol,
        sampler=sampler,
        set=words.parse_settings(set_ or []),
    )
    resolved = spec.resolve(request)
    run_seeds = words.parse_seeds(seeds)
    settings = Settings(
        device=choose_device(device),
        results=results,
        store=Store(data_dir),
        force=force,
        reporter=progress.reporter(quiet),
    )
    outcomes = []
    for outcome in engine.run(resolved, run_seeds, settings):
        outcomes.append(outcome)
        if not as_json:
            print_outcome(outcome, resolved.task.cls.metrics)
    if as_json:
        document = [
            {"path": str(o.path), "existed": o.existed, "result": o.result.model_dump(mode="json")}
            for o in outcomes
        ]
        typer.echo(json.dumps(document, indent=2, allow_nan=False))


def print_outcome(outcome, metrics) -> None:  # type: ignore[no-untyped-def]
    result = outcome.result
    said = "done before, nothing was run (--force repeats it)" if outcome.existed else "done"
    typer.echo(f"seed {result.seed}: {said}  [source={result.task.source}]")
    # A task may leave out what its options do not ask for.
    scored = [metric for metric in metrics if metric.name in result.metrics]
    width = max(len(metric.name) for metric in scored)
    for metric in scored:
        unit = f" {metric.unit}" if metric.unit else ""
        star = "*" if metric.primary else " "
        typer.echo(f"  {star} {metric.name:<{width}} {result.metrics[metric.name]:.6g}{unit}")
    typer.echo(f"  {outcome.path}")
