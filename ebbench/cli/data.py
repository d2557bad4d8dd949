"""`ebbench data`: show which data sets are here, and get those that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ebbench.contract import FileStatus
    from ebbench.data.store import Store

app = typer.Typer(no_args_is_help=True, help="Find, fetch, import and verify data sets.")

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Look in this folder only, not in EBBENCH_DATA and the cache."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Names = Annotated[list[str] | None, typer.Argument(help="Data sets; all if none is named.")]


@app.command("list")
def list_(names: Names = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show which data sets are here, and where. Name a set to see its files."""
    store = _offline(data_dir)
    _show([status for name in _known(names) for status in store.survey(name)], as_json, whole=bool(names))


@app.command()
def fetch(names: Names = None) -> None:
    """Download missing data sets into the cache; without names, all that can be downloaded."""
    from ebbench.data.registry import DATASETS
    from ebbench.data.store import Store

    store = Store()
    for name in _known(names) if names else [name for name, entry in DATASETS.items() if entry.mirrors]:
        for file, path in store.paths(name).items():
            typer.echo(f"{name}: {file} is at {path}")


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="Data files, packed or unpacked, or folders of them.")],
) -> None:
    """Copy your data files into the cache; their content identifies them."""
    from ebbench.data.store import Store

    store = Store()
    for path in paths:
        for one in store.import_path(path):
            typer.echo(f"{one.dataset}: {one.file} from {one.origin} is now at {one.path}")


@app.command()
def verify(names: Names = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Check every file that is here. A bad file, or a missing file of a named set, is an error."""
    from ebbench.errors import DataError

    store = _offline(data_dir)
    files = [status for name in _known(names) for status in store.verify(name)]
    _show(files, as_json, whole=bool(names))
    wrong = [file for file in files if file.state == "bad" or (names and file.state == "missing")]
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(files)} data files are not good",
            where="; ".join(
                f"{file.path or file.dataset + '/' + file.file}: {file.found or 'missing'}" for file in wrong
            ),
            expected="the published files; `ebbench data list --json` gives their sizes and SHA-256",
            fix="remove a bad file, then `ebbench data fetch`, or `ebbench data import PATH`",
        )


def _known(names: list[str] | None) -> list[str]:
    """The named data sets, or all. Raises UsageError for an unknown name before anything is done."""
    from ebbench.data import registry
    from ebbench.errors import unknown

    for name in names or ():
        if name not in registry.DATASETS:
            raise unknown("data set", name, registry.DATASETS)
    return list(names or registry.DATASETS)


def _offline(data_dir: Path | None) -> Store:
    from ebbench.data.store import Store

    return Store(data_dir, offline=True)


def _row(status: FileStatus) -> dict[str, Any]:
    return {
        "dataset": status.dataset,
        "file": status.file,
        "size": status.size,
        "sha256": status.sha256,
        "state": status.state,
        "place": status.place or None,
        "path": str(status.path) if status.path else None,
        "found": status.found or None,
    }


def _show(files: list[FileStatus], as_json: bool, *, whole: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_row(file) for file in files], indent=2))
        return
    from rich.markup import escape
    from rich.table import Column, Table

    from ebbench.cli.printing import for_tables

    table = Table(
        "data set", Column("files", overflow="fold"), "kB", "state", Column("where", overflow="fold")
    )
    colours = {"ok": "green", "missing": "yellow", "bad": "red"}
    for together in files_together(files, whole):
        first = together[0]
        name, path = first.file, first.path
        if len(together) > 1:
            name, path = f"{len(together)} files", path and path.parent
        here = f"{path} ({first.place})" if path else ""
        said = f": {escape(first.found)}" if first.found else ""
        state = f"[{colours[first.state]}]{first.state}[/]{said}"
        size = sum(file.size for file in together)
        table.add_row(first.dataset, name, f"{size / 1000:,.1f}", state, escape(here))
    for_tables().print(table)
    if any(file.state == "missing" for file in files):
        typer.echo(
            "missing: `ebbench data fetch NAME` downloads a set, `ebbench data import PATH` takes your copy"
        )
    if not whole:
        typer.echo("`ebbench data list NAME` shows each file of a set")


def files_together(files: list[FileStatus], whole: bool) -> list[list[FileStatus]]:
    """The files that share a line: those of a set that lie in one folder or are missing; alone if `whole`.

    A bad file has a line of its own.
    """
    lines: dict[tuple[object, ...], list[FileStatus]] = {}
    for file in files:
        alone = whole or file.state == "bad"
        key = (file.dataset, file.file) if alone else (file.dataset, file.path and file.path.parent)
        lines.setdefault(key, []).append(file)
    return list(lines.values())
