"""The pages that are not results: documents, findings, the search, comparisons, and changes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ebbench.site import changes, matrix, reference, side, side_by_side, sources, thumbs, words
from ebbench.site.addresses import slug, task_page
from ebbench.site.pages import Pages
from ebbench.site.prose import TASKS, Prose
from ebbench.site.views import MethodView, TaskView
from markupsafe import Markup

from ebbench.contract import Metric

# A metric, and its places in the code: what stands there, the file and line in words, the address.
Meaning = tuple[Metric, list[tuple[str, str, str]]]


def prose(pages: Pages, prose: Prose, documents: Sequence[words.Document], commands: Any) -> None:
    """Write one page per Markdown file."""
    found = words.findings(documents)
    of_findings, of_docs = side.of_findings(found), side.of_docs(documents, commands is not None)
    for one in documents:
        if one.source == words.FINDINGS:
            figures = pages.project / "docs" / "figures"
            drawn = [(finding, words.figure(finding)) for finding in found]
            listed = [(one, drawing, drawing and _tall(figures / drawing[1])) for one, drawing in drawn]
            pages.page(one.page, "findings.html", title=one.title, findings=listed, lead=one.summary)
            continue
        if one.source == words.DOCS:
            continue
        text = prose.html(one.text, source=one.source, page=one.page, anchors=True)
        listed_beside = of_findings if one in found else of_docs
        pages.page(
            one.page,
            "words.html",
            title=one.title,
            text=text,
            finding=one if one in found else None,
            beside=side.beside(one.page, listed_beside, side.sections(prose, one.text)),
        )
    figures = pages.project / "docs" / "figures"
    if figures.is_dir():
        shutil.copytree(figures, pages.out / "figures")


def _tall(figure: Path) -> bool:
    """Whether a figure is so tall that a card shows only its top."""
    size = thumbs.size_of(figure)
    if size is None and figure.is_file():
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', figure.read_text(encoding="utf-8")[:2000])
        size = (round(float(found[1])), round(float(found[2]))) if found else None
    return size is not None and size[1] > 0.6 * size[0]


def docs(
    pages: Pages,
    prose: Prose,
    documents: Sequence[words.Document],
    tasks: Sequence[TaskView],
    methods: Sequence[MethodView],
    commands: Any,
) -> None:
    """Write the overview of the docs, the references that the code generates, and the search index."""
    searched = [one for one in documents if one.source not in (words.FINDINGS, words.DOCS)]
    of_docs = side.of_docs(documents, commands is not None)
    made = _references(pages, prose, commands, of_docs)
    pages.write("search-index.js", words.index(searched, tasks, methods, made))
    measured = [task for task in tasks if task.metrics]
    names = [(task.name, task.title) for task in measured]
    pages.page(
        "docs/metrics.html",
        "metrics.html",
        title="Metrics",
        tasks=measured,
        beside=side.beside("docs/metrics.html", of_docs, names),
    )
    guide = next((one for one in documents if one.source == words.DOCS), None)
    # The template writes the title.
    text = guide.text.partition("\n")[2] if guide else ""
    pages.page(
        "docs.html",
        "docs.html",
        title="Docs",
        has_commands=commands is not None,
        guide=prose.html(text, source=words.DOCS, page="docs.html"),
        tasks=tasks,
        methods=methods,
    )


def _references(
    pages: Pages, prose: Prose, commands: Any, of_docs: Sequence[tuple[str, str]]
) -> list[tuple[str, str, str, str]]:
    """Write the references of the Python API and of the commands. Return their sections for the search."""
    searched = []
    for page, title, found in (
        ("docs/api.html", "Python API", reference.api()),
        ("docs/commands.html", "Commands", reference.commands(commands) if commands else []),
    ):
        if not found:
            continue

        def words_of(text: str, page: str = page) -> Markup:
            return prose.html(text, source="docs/api.md", page=page)

        brief = title == "Commands"
        names = [(reference.place(one.title), one.title.removeprefix("ebbench.")) for one in found]
        beside = side.beside(page, of_docs, names)
        pages.page(
            page, "reference.html", title=title, sections=found, words=words_of, brief=brief, beside=beside
        )
        for section in found:
            if brief:
                text = " ".join([section.doc, *(f"{one.signature} {one.doc}" for one in section.entries)])
                searched.append((title, section.title, f"{page}#{reference.place(section.title)}", text))
                continue
            for one in section.entries:
                text = " ".join([one.signature, one.doc, *(f"{m.signature} {m.doc}" for m in one.members)])
                where = f"{page}#{reference.place(section.title, one.name)}"
                searched.append((title, f"{section.title}.{one.name}", where, text))
    return searched


def compare(
    pages: Pages, tasks: Sequence[TaskView], rows: Sequence[matrix.MatrixRow], methods: Sequence[MethodView]
) -> None:
    """Write the page that compares methods."""
    columns = side_by_side.columns(rows, methods)
    lines = side_by_side.lines(tasks, columns)
    pages.page(
        "compare.html",
        "compare.html",
        title="Compare",
        methods=columns,
        lines=lines,
        tests=side_by_side.tests(lines, columns),
    )


def changed(pages: Pages, prose: Prose, tasks: Sequence[TaskView]) -> None:
    """Write what changed on the board, as a page and as a feed."""
    days = changes.days(tasks)
    decisions = [
        (release, [prose.html(one, source="CHANGELOG.md", page="changes.html") for one in entries])
        for release, entries in changes.decisions(pages.project)
    ]
    pages.page(
        "changes.html",
        "changes.html",
        title="What changed",
        days=days,
        decisions=decisions,
        has_changelog="changelog.html" in prose.words.values(),
    )
    pages.write("feed.xml", changes.feed(days))


def meanings(pages: Pages, task: TaskView) -> list[Meaning]:
    """Write the code of a task as pages. Return the task's metrics with their places in this code."""
    folder: Path | None = task.known.folder
    files = sources.python_files(folder) if folder else []
    start = task_page(task.name).removesuffix(".html")
    for path in files:
        pages.write(f"{start}-{path.name}.txt", path.read_bytes())
        pages.page(
            f"{start}-{path.name}.html",
            "source.html",
            title=f"{task.name}/{path.name}",
            name=f"{TASKS}/{task.name}/{path.name}",
            back=f"{slug(task.name)}.html",
            of=task.title,
            plain=f"{slug(task.name)}-{path.name}.txt",
            code=sources.coloured(path.read_text(encoding="utf-8", errors="replace"), path.name),
        )
    read = sources.read(files)
    made = []
    for metric in task.metrics:
        where = []
        for one in sources.places(metric.name, read):
            named = f"{TASKS}/{task.name}/{one.file}:{one.line}"
            where.append((one.what, named, f"{slug(task.name)}-{one.file}.html#L-{one.line}"))
            if address := reference.address_of(one.calls):
                where.append(("by", one.calls, f"../{address}"))
        made.append((metric, where))
    return made
