"""`ebbench site`: the leaderboard as a folder of plain files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Build the leaderboard site, and look at it.")

Results = Annotated[Path, typer.Option(help="The folder with the results.")]


@app.command()
def build(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(help="Where the site goes. It replaces an earlier build and keeps other files."),
    ] = Path("_site"),
    results: Results = Path("results"),
) -> None:
    """Render the results and the cards into plain files, for any web server or none.

    If a result, a plug-in or a chart cannot be read or shown, stderr names it, the site leaves it out, and
    the exit code is 1.
    """
    from ebbench.record.text import one_line
    from ebbench.site.build import build as render

    problems = render(results, out, commands=context.find_root().command)
    typer.echo(f"the site is in {out}: open {out / 'index.html'}")
    for problem in problems:
        typer.echo(one_line(f"left out: {problem.path}: {problem.reason}"), err=True)
    if problems:
        raise typer.Exit(1)


@app.command()
def serve(
    out: Annotated[Path, typer.Option(help="A site that was built.")] = Path("_site"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on this machine; 0 takes a free one.")
    ] = 8000,
) -> None:
    """Show a site that was built, on this machine alone, until Ctrl-C."""
    import functools
    import http.server

    from ebbench.errors import UsageError

    if not (out / "index.html").is_file():
        raise UsageError("there is no site", where=f"--out {out}", fix="`ebbench site build` makes one")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(out))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used: {error.strerror or error}",
            where="--port",
            fix="choose another, or 0 for a free one",
        ) from error
    with server:
        typer.echo(f"http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("")
