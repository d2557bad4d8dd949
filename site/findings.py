"""The findings in docs/findings/*.md, one file each: fills their numbers from the rows and lists them all."""

from __future__ import annotations

import re
from pathlib import Path

from ebbench.site.filled import Board, filled
from ebbench.site.finding_figure import drawn

from ebbench.board import names, table
from ebbench.board.currency import Today
from ebbench.board.row import Row
from ebbench.plugins import loader
from ebbench.record.resultfiles import load_all

FOLDER = "docs/findings"
OVERVIEW = "docs/findings.md"
_LIST = re.compile(r"(?<=<!--list-->\n).*?(?=<!--end-->)", re.S)


def fresh(project: Path, results: Path) -> dict[Path, str]:
    """What each file of the findings must hold: the texts, the overview, and the figures of tables.

    Raises UsageError where a comment of a file is answered by no row, or by several.
    """
    board = board_of(results)
    made: dict[Path, str] = {}
    for path in sorted((project / FOLDER).glob("*.md")):
        found = filled(path.read_text("utf-8"), board, path.relative_to(project).as_posix())
        made[path] = found.text
        for figure in found.figures:
            made[project / "docs" / "figures" / f"{figure.name}.svg"] = drawn(figure)
    overview = project / OVERVIEW
    texts = {path.name: text for path, text in made.items() if path.suffix == ".md"}
    made[overview] = _LIST.sub(lambda old: listed(texts, old[0]), overview.read_text("utf-8"))
    return made


def board_of(results: Path) -> Board:
    """The rows of every built-in task among the results of a folder."""
    found, _ = load_all(results)
    decided, today = names.read(results), Today()
    plugins = [loader.load("task", name) for name in loader.built_in("task")]

    def rows(one: loader.Plugin) -> list[Row]:
        declared = {"metrics": one.cls.metrics, "published": one.cls.published, "limits": one.cls.limits}
        return table.rows(found, one.name, names=decided, today=today, **declared)

    return Board(
        {one.name: rows(one) for one in plugins},
        {one.name: list(one.cls.metrics) for one in plugins},
        {one.name: list(one.cls.protocols) for one in plugins},
        {one.name: {r.run_id: r for r in found if r.task.name == one.name} for one in plugins},
    )


def listed(texts: dict[str, str], before: str) -> str:
    """One line per finding with its headline, in the order of `before`. New findings come last."""
    order = re.findall(r"\(findings/([\w.-]+)\)", before)
    names_of = sorted(texts, key=lambda name: (order.index(name) if name in order else len(order), name))
    heads = {name: re.search(r"^# (.+)$", texts[name], re.M) for name in names_of}
    return "".join(f"- [{head[1]}](findings/{name})\n" for name, head in heads.items() if head)
