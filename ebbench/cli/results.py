"""`ebbench results pack|unpack`: finished results from one machine to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.command("pack")
def pack(
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("results.zip"),
    states: Annotated[
        bool, typer.Option("--states", help="Also pack the trained states from the run store.")
    ] = False,
) -> None:
    """Pack results and their pictures into one file, with the SHA-256 of each."""
    from ebbench.submissions import packs

    n, pictures, trained = packs.pack(results, out, states=states)
    size = out.stat().st_size / 1e6
    typer.echo(f"{out}: {n} results, {pictures} pictures, {trained} trained states, {size:,.1f} MB")


@app.command("unpack")
def unpack(
    pack: Annotated[Path, typer.Argument(help="A file of `ebbench results pack`.")],
    results: Annotated[Path, typer.Option(help="Where the results go.")] = Path("results"),
) -> None:
    """Check a pack and put its results, pictures and trained states where they belong.

    A result that is here already must be the same. Nothing is overwritten.
    """
    from ebbench.submissions import packs

    done = packs.unpack(pack, results)
    typer.echo(f"{len(done.new)} new results, {len(done.known)} here already, {done.states} trained states")
    for name in done.new:
        typer.echo(f"  {results / Path(name).relative_to('results')}")
