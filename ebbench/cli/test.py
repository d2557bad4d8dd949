"""`ebbench test`: the contract suite on any plug-in folder."""

from __future__ import annotations

from typing import Annotated

import typer


def test(
    path: Annotated[str, typer.Argument(help="A plug-in's folder, or a known name.")],
    task: Annotated[
        str,
        typer.Option(help="Try a model on this task's shape only; every task that it can do if not given."),
    ] = "",
) -> None:
    """Check that a model's or a task's folder keeps the contract, on a CPU and without any data.

    The exit code is 1 if a check failed, 2 if the folder is no plug-in.
    """
    from pathlib import Path

    from ebbench import contract
    from ebbench.conformance import suite
    from ebbench.data.store import Store
    from ebbench.errors import DataError
    from ebbench.plugins import introspection, loader

    is_task = (Path(path) / "task.py").is_file() or (path in loader.names("task"))
    plugin = loader.load("task" if is_task else "model", path)
    specs: dict[str, contract.DataSpec] = {}
    needs: dict[str, str] = {}
    if plugin.kind == "model":
        for name in [task] if task else loader.names("task"):
            loaded = loader.load("task", name)
            cls = loaded.cls
            if cls.needs not in introspection.capabilities(plugin.cls):
                continue
            try:
                found = cls(cls.Options(), next(iter(cls.protocols)), Store(offline=True))
            except DataError as error:
                typer.echo(f"skip  {name}: {error.what}")
                continue
            specs[loaded.name], needs[loaded.name] = found.spec(), cls.needs
    failed = 0
    for report in suite.check(plugin, specs, needs):
        failed += not report.passed
        typer.echo(f"{'ok  ' if report.passed else 'FAIL'}  {report.name}: {report.text}")
    typer.echo("every check passed" if not failed else f"{failed} checks failed")
    raise typer.Exit(1 if failed else 0)
