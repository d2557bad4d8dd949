"""The command line: one verb a file. Nothing heavy is imported before a verb is chosen."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from ebbench.cli.claims import claims
from ebbench.cli.compare import compare
from ebbench.cli.data import app as data_app
from ebbench.cli.doctor import doctor
from ebbench.cli.grid import grid
from ebbench.cli.keys import app as keys_app
from ebbench.cli.list import list_plugins
from ebbench.cli.new import app as new_app
from ebbench.cli.results import app as results_app
from ebbench.cli.run import run
from ebbench.cli.score import score
from ebbench.cli.show import show
from ebbench.cli.site import app as site_app
from ebbench.cli.status import status
from ebbench.cli.submit import submit
from ebbench.cli.sweep import sweep
from ebbench.cli.table import table
from ebbench.cli.test import test
from ebbench.cli.verify import verify
from ebbench.errors import EbbenchError, Stopped

app = typer.Typer(
    name="ebbench",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ebbench import __version__

        typer.echo(f"ebbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Evaluate energy-based and adversarial generative models."""


app.command("run")(run)
app.command("score")(score)
app.command("sweep")(sweep)
app.command("status")(status)
app.command("grid")(grid)
app.command("table")(table)
app.command("compare")(compare)
app.command("claims")(claims)
app.command("list")(list_plugins)
app.command("show")(show)
app.command("test")(test)
app.command("submit")(submit)
app.command("verify")(verify)
app.command("doctor")(doctor)
app.add_typer(new_app, name="new", help="Write the folder of a new model or task.")
app.add_typer(site_app, name="site", help="Build the leaderboard site, and look at it.")
app.add_typer(results_app, name="results", help="Move finished results between machines.")
app.add_typer(keys_app, name="keys", help="Make the key that a maintainer signs with.")
app.add_typer(data_app, name="data", help="Find, fetch, import and verify data sets.")


def main() -> None:
    """Run the command line; a user's mistake ends in a message and exit code 2, not in a traceback."""
    _open_streams()
    try:
        app(prog_name="ebbench")
    except EbbenchError as error:
        from ebbench.record.text import visible

        # It may quote a stranger: a terminal shows that, and does not obey it.
        print(f"error: {visible(str(error))}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        # A disk that is full behind `>`. A pipe that was closed is click's own.
        if _stdout_works():
            raise
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        print("  fix: free some space, or write it elsewhere; what the command made is kept", file=sys.stderr)
        # What is left in the buffer would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(2)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)


def _stdout_works() -> bool:
    try:
        # Written, not only flushed: what failed before need not be in the buffer any more.
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _open_streams() -> None:
    """Standard streams that take whatever is written to them.

    A stream that was closed by the caller leads nowhere. What a terminal has no character for is replaced.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
