"""`ebbench list`: the tasks, the models, and which model can do which task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ebbench.plugins.cards import ModelCard
    from ebbench.plugins.loader import Kind


def list_plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    matrix: Annotated[
        bool, typer.Option("--matrix", help="Show which model has results on which task: seeds by budget.")
    ] = False,
    results: Annotated[Path, typer.Option(help="With --matrix: the folder with the results.")] = Path(
        "results"
    ),
) -> None:
    """List the tasks and the models. One that cannot be loaded is listed with its error."""
    tasks = [_task(name) for name in _names("task")]
    models = [_model(name, tasks) for name in _names("model")]
    if matrix:
        _matrix(tasks, models, results, as_json)
        return
    if as_json:
        document = {"tasks": tasks, "models": models}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    _show("tasks", tasks, ["name", "title", "version", "needs", "protocols"])
    _show("models", models, ["name", "title", "year", "kind", "tasks", "samplers", "variants"])


def _matrix(tasks: list[dict[str, Any]], models: list[dict[str, Any]], results: Path, as_json: bool) -> None:
    """Method against task: how many seeds at which budget, "not run yet" or "not applicable"."""
    from ebbench.plugins.budgets import BUDGETS
    from ebbench.record.resultfiles import load_all

    found, problems = load_all(results)
    seeds: dict[tuple[str, str], dict[str, set[int]]] = {}
    for result in found:
        name = f"{result.model.name}:{result.model.variant}" if result.model.variant else result.model.name
        at = seeds.setdefault((name, result.task.name), {})
        at.setdefault(result.budget, set()).add(result.seed)
    scored = {name for name, _ in seeds}
    rows = []
    for model in sorted(models, key=lambda m: m.get("kind") == "control"):
        variants = [f"{model['name']}:{variant}" for variant in model.get("variants", [])]
        for name in [model["name"], *(variant for variant in variants if variant in scored)]:
            row = {"name": name, "error": model["error"]}
            for task in tasks:
                at = seeds.get((name, task["name"]), {})
                budgets = [budget for budget in BUDGETS if budget in at]
                if budgets:
                    row[task["name"]] = ", ".join(f"{budget} {len(at[budget])}" for budget in budgets)
                else:
                    able = task["name"] in model.get("tasks", [])
                    row[task["name"]] = "not run yet" if able else "not applicable"
            rows.append(row)
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _show("seeds by budget", rows, ["name", *(task["name"] for task in tasks)])
    for problem in problems:
        typer.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _names(kind: Kind) -> list[str]:
    from ebbench.plugins import loader

    return loader.names(kind)


def _task(name: str) -> dict[str, Any]:
    from ebbench.errors import EbbenchError
    from ebbench.plugins import loader

    entry: dict[str, Any] = {"name": name, "error": None}
    try:
        plugin = loader.load("task", name)
        entry |= {"title": plugin.card.title, "summary": plugin.card.summary, "year": plugin.card.year}
        cls = plugin.cls
        return entry | {
            "version": cls.version,
            "needs": cls.needs,
            "protocols": list(cls.protocols),
            "metrics": [metric.name for metric in cls.metrics],
        }
    except EbbenchError as error:
        return entry | {"error": str(error)}
    except (AttributeError, TypeError) as error:
        return entry | {"error": f"it breaks the contract (`ebbench test` says how): {error}"}


def _model(name: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    from ebbench.errors import EbbenchError
    from ebbench.plugins import introspection, loader

    entry: dict[str, Any] = {"name": name, "error": None}
    try:
        plugin = loader.load("model", name)
        card = plugin.card
        entry |= {"title": card.title, "summary": card.summary, "year": card.year, "kind": card.kind}
        entry |= {"families": list(card.families), "budgets": list(card.budgets)}
        entry |= {"variants": list(card.variants)}
        cls = plugin.cls
    except EbbenchError as error:
        return entry | {"error": str(error)}
    able = introspection.capabilities(cls)
    return entry | {
        "capabilities": list(able),
        "samplers": list(introspection.samplers(cls)),
        "scores": list(introspection.scores(cls)),
        # The needs of a task that cannot be loaded are unknown.
        "tasks": [
            task["name"] for task in tasks if task.get("needs") in able and _meant_for(card, task["name"])
        ],
    }


def _meant_for(card: ModelCard, task: str) -> bool:
    """A control whose card has budgets runs on the tasks that they name; others run wherever they can."""
    if card.kind != "control" or not card.budgets:
        return True
    return any(task in tables or "default" in tables for tables in card.budgets.values())


def _show(title: str, entries: list[dict[str, Any]], columns: list[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ebbench.cli.printing import for_tables

    console = for_tables()
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for entry in entries:
        style = "red" if entry["error"] else ""
        table.add_row(*(Text(_cell(entry.get(column))) for column in columns), style=style)
    console.print(table)
    for entry in entries:
        if entry["error"]:
            console.print(Text(f"{entry['name']} cannot be loaded: {entry['error']}"), style="red")


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)
