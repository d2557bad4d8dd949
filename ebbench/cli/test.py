"""`ebbench test`: the contract suite on any plug-in folder."""

from __future__ import annotations

from typing import Annotated

import typer


def test(
    path: Annotated[str, typer.Argument(help="A plug-in's folder, or a known name.")],
    task: Annotated[
        str,
        typer.Option(help="Try a model on this task's shape only; default: every task that it can do."),
    ] = "",
) -> None:
    """Check the folder of a model or a task for common mistakes, on a CPU and without data.

    A model is trained for a few steps on noise. Each mistake is named with its line. The exit code is 1 if a
    check failed, 2 if the folder is no plug-in.
    """
    from pathlib import Path

    from ebbench.conformance import suite
    from ebbench.plugins import loader

    is_task = (Path(path) / "task.py").is_file() or (path in loader.names("task"))
    plugin = loader.load("task" if is_task else "model", path)
    failed = 0
    for report in suite.check(plugin, task=task):
        failed += not report.passed
        mark = "note" if report.remark else "ok  " if report.passed else "FAIL"
        typer.echo(f"{mark}  {report.name}: {report.text}")
    typer.echo("every check passed" if not failed else f"{failed} check{'s' * (failed > 1)} failed")
    raise typer.Exit(1 if failed else 0)
