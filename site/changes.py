"""What changed on the board: the rows by the day they were made, and the changelog's entries about ranks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ebbench.site import svg, views, wording
from ebbench.site.addresses import task_page
from markupsafe import Markup

from ebbench.board import labels
from ebbench.board.row import Row

# What an entry of the changelog says where it changes ranks or scores.
MOVES = re.compile(r"\*(?!Changes no)[^*]*(ranks|[Cc]hanges (the )?scores)")
# Days that the page and the feed go back.
MOST_DAYS = 30


@dataclass(frozen=True)
class Made:
    """A row that got results on a day: how many results, and the rank that it has now."""

    task: views.TaskView
    row: Row
    called: str
    results: int
    place: str


@dataclass(frozen=True)
class Day:
    """The rows that got results on a day."""

    date: str
    made: Sequence[Made]

    @property
    def title(self) -> str:
        """How many results came, and on which tasks, in one line."""
        results = sum(one.results for one in self.made)
        tasks = sorted({one.task.title for one in self.made})
        return f"{results} result{'s' if results != 1 else ''} on {', '.join(tasks)}"


def days(tasks: Sequence[views.TaskView]) -> list[Day]:
    """The last days with results, the newest first. A row is on each day that one of its results was made."""
    by_day: dict[str, list[Made]] = defaultdict(list)
    for task in tasks:
        for _, group in task.groups:
            for row in group:
                counted: dict[str, int] = defaultdict(int)
                for result in task.results_of(row):
                    counted[result.created[:10]] += 1
                place = labels.place(row, group)
                for date, results in counted.items():
                    made = Made(task, row, wording.called(row, group), results, place)
                    by_day[date].append(made)
    return [Day(date, by_day[date]) for date in sorted(by_day, reverse=True)[:MOST_DAYS]]


def decisions(project: Path) -> list[tuple[str, list[str]]]:
    """Each release of the changelog with its entries that change ranks or scores, as Markdown."""
    path = project / "CHANGELOG.md"
    if not path.is_file():
        return []
    made = []
    for section in re.split(r"^(?=## )", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        heading, _, text = section.partition("\n")
        entries = re.split(r"^- ", text, flags=re.M)[1:]
        moving = [one for one in entries if MOVES.search(one)]
        if moving:
            made.append((heading.removeprefix("## ").strip(), [one.strip() for one in moving]))
    return made


def feed(found: Sequence[Day]) -> str:
    """The days as an Atom feed (RFC 4287). Its links are relative: a board may be served anywhere."""
    newest = found[0].date if found else "1970-01-01"
    parts = [
        svg.element("title", "ebbench: what changed"),
        svg.element("id", "tag:ebbench,2026:board"),
        svg.element("updated", f"{newest}T00:00:00Z"),
        svg.element("author", svg.element("name", "ebbench")),
        Markup('<link rel="alternate" href="changes.html"/>'),
    ]
    for day in found:
        lines = [
            f"{one.called} on {one.task.title}: {one.results} result{'s' if one.results != 1 else ''}"
            + (f", now rank {one.place}" if one.place else "")
            for one in day.made
        ]
        links = {task_page(one.task.name) for one in day.made}
        link = min(links) if len(links) == 1 else f"changes.html#{day.date}"
        parts.append(
            svg.element(
                "entry",
                svg.element("title", day.title),
                svg.element("id", f"tag:ebbench,2026:board/{day.date}"),
                svg.element("updated", f"{day.date}T00:00:00Z"),
                Markup('<link href="{}"/>').format(link),
                svg.element("content", "\n".join(lines), type="text"),
            )
        )
    body = svg.element("feed", *parts, xmlns="http://www.w3.org/2005/Atom")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'
