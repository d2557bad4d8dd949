"""`ebbench status`: which runs of a plan are done, running, waiting, or failed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def status(
    plan: Annotated[Path, typer.Argument(help="A TOML file; see docs/plans.md.")],
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    results: Annotated[Path, typer.Option(help="Where the results are.")] = Path("results"),
    format_: Annotated[str, typer.Option("--format", help="rich or json.")] = "rich",
    everything: Annotated[
        bool, typer.Option("--all", help="Name every run, also the finished ones.")
    ] = False,
) -> None:
    """Show the progress of a plan. It reads the results and the run store, and changes nothing.

    The exit code is that of `ebbench sweep`: 0 if all is done, 1 if a run failed, 124 if some are left.
    """
    import dataclasses
    import json

    from rich.console import Console

    from ebbench.cli import watching
    from ebbench.cli.outcome import stdout_kept_clean
    from ebbench.errors import unknown
    from ebbench.sweeps import survey

    if format_ not in ("rich", "json"):
        raise unknown("format", format_, ["rich", "json"], where="--format")
    with stdout_kept_clean(format_ == "json"):
        states = survey.status(plan, results=results, data_dir=data_dir)
    console = Console()
    if format_ == "json":
        document = {
            **survey.counts(states),
            "runs": [dataclasses.asdict(one) for one in states],
        }
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
    # A narrow table would cut words off. Lines wrap.
    elif console.is_terminal and console.width >= 80:
        console.print(watching.table(states, everything=everything))
    else:
        typer.echo("\n".join(watching.lines(states, everything=everything)))
    raise typer.Exit(survey.exit_code(states))
