"""`ebbench claims`: what papers claim, and what the rows of a board say of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebbench.board.claims import Verdict


def claims(
    task: Annotated[str, typer.Option(help="A task's name, or the path of its folder; default: all.")] = "",
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
    format_: Annotated[str, typer.Option("--format", help="rich or json.")] = "rich",
) -> None:
    """Judge each claim of the papers by the results: reproduced, exceeded, contradicted, ...

    The file claims.toml in a task's folder holds the claims. A verdict is computed from the rows at the
    budget of the claim. The rules are in docs/protocols.md, "Claims".
    """
    from ebbench.api import read_folders, select
    from ebbench.board import claims as judging
    from ebbench.board import names
    from ebbench.errors import unknown
    from ebbench.plugins import loader
    from ebbench.record.resultfiles import results_to_read

    if format_ not in ("rich", "json"):
        raise unknown("format", format_, ["rich", "json"], where="--format")
    results_to_read(results)
    found, problems = read_folders(results) if results.exists() else ([], [])
    if not found:
        there = "" if results.exists() else ": there is no such folder"
        typer.echo(f"no results in {results}{there}", err=True)
    decided = names.read(results)
    verdicts: list[Verdict] = []
    for name in [task] if task else loader.names("task"):
        plugin = loader.load("task", name)
        if stated := judging.read(plugin.folder):
            rows = select(plugin, found, names=decided)
            first = next(iter(plugin.cls.protocols))
            verdicts += [judging.judge(plugin.name, one, rows, plugin.cls.metrics, first) for one in stated]
    if format_ == "json":
        typer.echo(json.dumps([one.as_json() for one in verdicts], indent=2, allow_nan=False))
    else:
        _print(verdicts)
    for problem in problems:
        typer.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _print(verdicts: Sequence[Verdict]) -> None:
    from ebbench.board.claims import counted
    from ebbench.record.text import one_line

    task = ""
    for one in verdicts:
        if one.task != task:
            task = one.task
            typer.echo(task)
        outcome = one.outcome + (f" ({one.there})" if one.there else "")
        sides = [side for side in (one.claim.of, one.claim.than) if side]
        if protocols := list(dict.fromkeys(side.protocol for side in sides if side.protocol)):
            outcome += f", protocol {' against '.join(protocols)}"
        typer.echo(f"  {outcome}: {one_line(one.claim.says)}")
        typer.echo(f"      {one_line(one.said)}")
    shown = ", ".join(f"{number} {outcome}" for outcome, number in counted(verdicts).items() if number)
    typer.echo(f"{len(verdicts)} claims: {shown}" if verdicts else "no claims")
