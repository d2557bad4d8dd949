"""`ebbench compare`: two rows of a task against each other, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebbench.board.compare import Compared
    from ebbench.board.row import Row


def compare(
    a: Annotated[str, typer.Argument(help="A row: MODEL, MODEL:VARIANT or MODEL@SAMPLER.")],
    b: Annotated[str, typer.Argument(help="The row that it is compared with.")],
    task: Annotated[str, typer.Option(help="A task's name, or the path of its folder.")],
    results: Annotated[
        list[Path] | None, typer.Option(help="A folder with results; give it again for another.")
    ] = None,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Compare every metric, not the primary ones only.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two rows by a paired test over their common seeds, wherever both were run alike.

    Alike is: the same task version, options, data, protocol and budget.
    """
    from ebbench.board import labels
    from ebbench.board import table as tables
    from ebbench.board.compare import compare as compare_sides
    from ebbench.board.compare import side
    from ebbench.errors import UsageError
    from ebbench.plugins import loader
    from ebbench.record.resultfiles import load_all

    plugin = loader.load("task", task)
    folders = results or [Path("results")]
    loaded = [load_all(folder) for folder in folders]
    found = [result for here, _ in loaded for result in here]
    rows = tables.rows(found, plugin.name, metrics=plugin.cls.metrics, published=plugin.cls.published)
    pairs = []
    for title, group in labels.groups(rows):
        one, other = _chosen(a, group, title), _chosen(b, group, title)
        if one and other:
            pairs.append((title, side(one), side(other)))
    if not pairs:
        missing = [name for name in (a, b) if not any(_matches(name, row) for row in rows)]
        known = ", ".join(sorted({labels.label(row) for row in rows})) or "there are none"
        raise UsageError(
            f"no results of {' and of '.join(missing)}" if missing else f"{a} and {b} were never run alike",
            where=f"task '{plugin.name}' in {', '.join(map(str, folders))}",
            expected=f"two of the rows that are there: {known}",
            fix="`ebbench table` shows which were run at which budget and protocol",
        )
    compared = compare_sides(pairs, [m for m in plugin.cls.metrics if m.primary or all_metrics])
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in compared], indent=2, allow_nan=False))
    else:
        _print(compared)
    problems = [problem for _, there in loaded for problem in there]
    for problem in problems:
        typer.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _matches(name: str, row: Row) -> bool:
    from ebbench.board.labels import label

    whole = label(row)
    return name in (whole, whole.partition(" ")[0], whole.partition("@")[0])


def _chosen(name: str, group: Sequence[Row], title: str) -> Row | None:
    """The row of that name; of several, the one that is called just so or has the plain sampler."""
    from ebbench.board.labels import label
    from ebbench.errors import UsageError

    able = [row for row in group if _matches(name, row)]
    exact = [row for row in able if label(row) == name] or [
        row for row in able if not row.overrides and row.sampler in (None, "generator")
    ]
    if len(able) > 1 and len(exact) != 1:
        raise UsageError(
            f"'{name}' are {len(able)} rows",
            where=title,
            expected="one of " + ", ".join(label(row) for row in able),
        )
    chosen = exact if len(able) > 1 else able
    return chosen[0] if chosen else None


def _print(compared: Sequence[Compared]) -> None:
    from ebbench.board.labels import spelled
    from ebbench.record.text import one_line

    title = ""
    several = sum(one.p is not None for one in compared) > 1
    for one in compared:
        if one.group != title:
            title = one.group
            typer.echo(one_line(title))
        half = None if one.low is None or one.high is None else (one.high - one.low) / 2
        said = {"tie": "a tie", "": "neither is better", "untested": "not tested, for want of seeds"}
        verdict = said.get(one.verdict, f"{one.verdict} is better")
        common = f"{len(one.seeds)} common seed{'s' * (len(one.seeds) != 1)}"
        p = "" if one.p is None else f", p {_spelled_p(one.p)}"
        p += f" (by Holm {_spelled_p(one.adjusted)})" if several and one.adjusted is not None else ""
        typer.echo(
            "  "
            + one_line(
                f"{one.metric}: {one.a} {spelled(one.mean_a, None)}, {one.b} {spelled(one.mean_b, None)}; "
                f"difference {spelled(one.difference, half)} over {common}{p}: {verdict}"
            )
        )


def _spelled_p(p: float) -> str:
    return "< 0.001" if p < 1e-3 else f"= {p:.3f}"
