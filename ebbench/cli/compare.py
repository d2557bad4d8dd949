"""`ebbench compare`: two rows of a task against each other, or samples of one's own against a row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebbench.board.compare import Compared, Side
    from ebbench.board.row import Row
    from ebbench.plugins.loader import Plugin


def compare(
    task: Annotated[str, typer.Option(help="A task's name, or the path of its folder.")],
    a: Annotated[
        str,
        typer.Argument(
            help="A row (MODEL, MODEL:VARIANT or MODEL@SAMPLER), or samples (FILE.npz or a folder)."
        ),
    ] = "",
    b: Annotated[str, typer.Argument(help="What it is compared with.")] = "",
    results: Annotated[
        list[Path] | None, typer.Option(help="A folder with results; give it again for another.")
    ] = None,
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Compare every metric, not only the primary ones.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="With samples: where the data sets lie.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two rows by a paired test over their common seeds.

    Both rows must have the same task version, options, data, protocol and budget. Samples that were made
    elsewhere are scored with the settings of the other row. If you name a folder, each npz file in it counts
    as one training, and Welch's test compares the two sets of trainings.

    In a task of many data sets (adbench) methods are also compared over the data sets: two of them by
    Wilcoxon's signed-rank test; all of them, if A and B are left out, by average ranks and Friedman's test
    (Demsar, 2006).
    """
    from ebbench.api import select
    from ebbench.board import across, labels, named, names
    from ebbench.board.compare import compare as compare_sides
    from ebbench.board.compare import side
    from ebbench.errors import UsageError
    from ebbench.plugins import loader
    from ebbench.record.resultfiles import load_all, results_to_read
    from ebbench.record.text import visible

    plugin = loader.load("task", task)
    of_sets = plugin.card.parts == "data sets"
    if not (a and b) and (a or not of_sets):
        raise UsageError(
            f"there is only one row to compare: '{a}'" if a else "there is nothing to compare",
            expected=f"two rows: ebbench compare A B --task {task}",
            fix="name two rows; `ebbench table` shows those that exist",
        )
    folders = results or [Path("results")]
    for folder in folders:
        results_to_read(folder)
    loaded = [load_all(folder) for folder in folders]
    found = [result for here, _ in loaded for result in here]
    rows = select(plugin, found, names=names.read(*folders))
    files = {name: made for name in (a, b) if name and (made := _files(name))}
    if len(files) > 1:
        raise UsageError(
            "both arguments are samples",
            expected="samples and one row",
            fix="`ebbench score --samples` scores each by itself",
        )
    if a:
        named.must_differ(a, b)
    outside = _Outside(plugin, files, data_dir)
    pairs, over_sets = [], []
    for title, group in labels.comparable(rows):
        if of_sets and not files:
            chosen = [named.chosen(a, group, title), named.chosen(b, group, title)] if a else group
            over_sets += across.of_group(title, [r for r in chosen if r], found, plugin.cls.metrics)
        if not a:
            continue
        one, other = named.chosen(a, group, title), named.chosen(b, group, title)
        if one and other:
            pairs.append((title, side(one), side(other)))
        elif files and (row := one or other) and row.task_version == plugin.cls.version:
            mine, theirs = outside.side(row), side(row)
            pairs.append((title, mine, theirs) if other else (title, theirs, mine))
    if not pairs and a:
        rivals = [name for name in (a, b) if name not in files]
        where = f"task '{plugin.name}' in {', '.join(map(_place, folders))}"
        raise named.not_comparable(a, b, rivals, rows, where)
    compared = compare_sides(pairs, [m for m in plugin.cls.metrics if m.primary or all_metrics])
    if not a and not over_sets:
        raise UsageError(
            f"no two models of task '{plugin.name}' have comparable runs "
            f"on {across.LEAST_SETS} data sets or more",
            where=", ".join(map(_place, folders)),
            fix=f"`ebbench run --task {plugin.name} --model MODEL` makes rows",
        )
    if as_json:
        said = [one.as_json() for one in compared]
        said += [{"group": title, **whole.as_json()} for title, whole in over_sets]
        typer.echo(json.dumps(said, indent=2, allow_nan=False))
    else:
        _print(compared)
        for title, whole in over_sets:
            typer.echo(visible("\n".join(across.in_words(title, whole))))
    problems = [problem for _, there in loaded for problem in there]
    for problem in problems:
        typer.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _place(folder: Path) -> str:
    return str(folder) if folder.exists() else f"{folder}, which is not there"


def _files(name: str) -> list[Path]:
    """The npz files that an argument names; none if it names a row."""
    path = Path(name)
    if path.suffix == ".npz":
        return [path]
    return sorted(path.glob("*.npz")) if path.is_dir() else []


class _Outside:
    """Samples made elsewhere, scored once for each protocol and set of options."""

    def __init__(self, plugin: Plugin, files: Mapping[str, list[Path]], data_dir: Path | None) -> None:
        from ebbench.data.store import Store

        self._plugin = plugin
        self._name, self._files = next(iter(files.items()), ("", []))
        self._store = Store(data_dir) if files else None
        self._sides: dict[str, Side] = {}

    def side(self, row: Row) -> Side:
        """The samples as they score beside a row. Raises UsageError for other data than the row's."""
        from ebbench.board.compare import Side
        from ebbench.errors import UsageError
        from ebbench.running import progress
        from ebbench.submissions.external import score_file

        assert self._store is not None
        key = json.dumps([row.options, row.source, row.protocol], sort_keys=True)
        if key in self._sides:
            return self._sides[key]
        values: dict[str, dict[int, float]] = {}
        for number, file in enumerate(self._files):
            _, asked, made = score_file(
                file,
                task=str(self._plugin.folder),
                protocol=row.protocol,
                options=row.options,
                seed=0,
                store=self._store,
                where=f"the row of {row.model}",
                reporter=progress.reporter(quiet=False),
            )
            if asked.source != row.source:
                raise UsageError(
                    f"the samples are scored on {asked.source}, but the row of {row.model} on {row.source}",
                    where=file.name,
                    expected="the same data",
                    fix="give the folder of the row's data by --data-dir",
                )
            for name, value in made.score.metrics.items():
                # A seed that no row has, so that these trainings are paired with none of the row's.
                values.setdefault(name, {})[-1 - number] = float(value)
        self._sides[key] = Side(self._name, values)
        return self._sides[key]


def _print(compared: Sequence[Compared]) -> None:
    from ebbench.board.across import spelled_p
    from ebbench.board.labels import spelled
    from ebbench.record.text import one_line

    title = ""
    several = sum(one.p is not None for one in compared) > 1
    for one in compared:
        if one.group != title:
            title = one.group
            typer.echo(one_line(title))
        half = None if one.low is None or one.high is None else (one.high - one.low) / 2
        said = {"tie": "a tie", "": "neither is better", "untested": "not tested: too few seeds"}
        verdict = said.get(one.verdict, f"{one.verdict} is better")
        n = len(one.seeds)
        how = f"over {n} common seeds" if n > 1 else "of the means, without two common seeds"
        p = "" if one.p is None else f", p {spelled_p(one.p)}"
        p += f" (by Holm {spelled_p(one.adjusted)})" if several and one.adjusted is not None else ""
        typer.echo(
            "  "
            + one_line(
                f"{one.metric}: {one.a} {spelled(one.mean_a, None)}, {one.b} {spelled(one.mean_b, None)}; "
                f"difference {spelled(one.difference, half)} {how}{p}: {verdict}"
            )
        )
