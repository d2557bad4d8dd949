"""The project's Markdown as pages: which file becomes which page, and the index of the search."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import normpath

from ebbench.site.addresses import method_page, task_page
from ebbench.site.filled import Board, filled, without_comments
from ebbench.site.prose import anchor
from ebbench.site.views import MethodView, TaskView

from ebbench.errors import UsageError

# Files whose page has another name or title: file, page, title.
NAMED = {
    "docs/findings.md": ("findings.html", "Findings"),
    "docs/protocols.md": ("protocols.html", "Protocols"),
    "docs/submitting.md": ("submit.html", "Submit"),
    "docs/trust.md": ("trust.html", "Trust"),
    "docs/table.md": ("statistics.html", "Tables and their statistics"),
    "docs/README.md": ("docs.html", "Docs"),
    "docs/glossary.md": ("glossary.html", "Glossary"),
    "CHANGELOG.md": ("changelog.html", "Changelog"),
}
FINDINGS = "docs/findings.md"
DOCS = "docs/README.md"
# The files in the navigation bar, in its order.
FIRST = ("docs/findings.md", "docs/protocols.md", "docs/submitting.md", "docs/trust.md")
# The search reads this many characters of a section.
MOST_SEARCHED = 6000


@dataclass(frozen=True)
class Document:
    """A document: its file in the project, the address of its page, its title, and its Markdown."""

    source: str
    page: str
    title: str
    text: str
    # For a finding: how many rows its numbers come from, and how many of these older code made.
    rows: int = 0
    older: int = 0

    @property
    def summary(self) -> str:
        """The first sentence below the title."""
        for part in re.split(r"\n\s*\n", self.text):
            if part.strip() and not re.match(r"\s*(#|\||```|!\[|- )", part):
                return re.split(r"(?<=[.?!:])\s", plain(part))[0]
        return ""


def documents(project: Path, board: Board | None = None) -> list[Document]:
    """The documents of a checkout; an installed package has none.

    The rows of `board` fill the numbers of the findings. If the board lacks a row that a file needs,
    this file keeps its old numbers.
    """
    files = [path for path in sorted((project / "docs").rglob("*.md")) if path.is_file()]
    if (project / "CHANGELOG.md").is_file() and files:
        files.append(project / "CHANGELOG.md")
    made = []
    for path in files:
        source = path.relative_to(project).as_posix()
        text = path.read_text(encoding="utf-8")
        rows = older = 0
        if source.startswith("docs/findings/") and board is not None:
            with contextlib.suppress(UsageError):
                found = filled(text, board, source)
                text = found.text
                behind = {id(row): row for row in found.rows}.values()
                rows, older = len(behind), sum(row.code == "older code" for row in behind)
        if source.startswith("docs/findings"):
            # The spaces around ± must not break a line.
            text = without_comments(text).replace(" ± ", "\u00a0±\u00a0")
        heading = re.match(r"\s*#\s+(.+)", text)
        title = heading[1].strip() if heading else path.stem.replace("-", " ").capitalize()
        page = source.removeprefix("docs/").removesuffix(".md") + ".html"
        page = page if page.startswith("findings/") else f"docs/{page}"
        page, title = NAMED.get(source, (page, plain(title)))
        made.append(Document(source, page, title, text, rows, older))
    return made


def linked(text: str) -> list[str]:
    """The files that a text of the docs links to, in its order, as paths from the project's root."""
    return [normpath(f"docs/{path}") for path in re.findall(r"\]\(([\w./-]+\.md)\)", text)]


def findings(found: Sequence[Document]) -> list[Document]:
    """The findings in the order of docs/findings.md. Findings that it does not list come last."""
    overview = next((one.text for one in found if one.source == FINDINGS), "")
    order = [f"docs/{path}" for path in re.findall(r"\]\((findings/[\w.-]+)\)", overview)]
    pages = [one for one in found if one.page.startswith("findings/")]
    return sorted(pages, key=lambda one: order.index(one.source) if one.source in order else len(order))


def about(found: Sequence[Document], folder: str) -> list[Document]:
    """The findings that link to the README of a plug-in, which is in `folder` ("tasks/kdd99")."""
    return [one for one in findings(found) if f"{folder}/README.md" in one.text]


def figure(one: Document) -> tuple[str, str] | None:
    """The alternative text and the file name of a document's first figure; None without a figure."""
    found = re.search(r"!\[([^\]]*)\]\((?:\.\./)?figures/([\w.-]+)\)", one.text)
    return (found[1], found[2]) if found else None


def plain(text: str) -> str:
    """Markdown without its marks."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^\s*[-:| ]+$|^\s*- |```\w*|[|#]", " ", text, flags=re.M)
    text = re.sub(r"[`*]", "", text)
    return " ".join(text.replace("+-", "±").split())


def sections(one: Document) -> Iterator[tuple[str, str]]:
    """The sections of a document: heading ("" for the first) and text."""
    first, *rest = re.split(r"^(?=#{1,3} )", one.text, flags=re.M)
    if first.strip():
        yield "", first
    for section in rest:
        heading, _, text = section.partition("\n")
        yield ("" if heading.startswith("# ") else plain(heading)), text


def index(
    found: Sequence[Document],
    tasks: Sequence[TaskView],
    all_methods: Sequence[MethodView],
    others: Sequence[tuple[str, str, str, str]] = (),
) -> str:
    """The search index as a script: title, heading, address and text of each section.

    `others` holds the same four of each section that no Markdown file has.
    """
    entries: list[dict[str, str]] = []

    def add(title: str, heading: str, address: str, text: str) -> None:
        entries.append({"t": title, "h": heading, "u": address, "x": plain(text)[:MOST_SEARCHED]})

    for one in found:
        for heading, text in sections(one):
            add(one.title, heading, one.page + (f"#{anchor(heading)}" if heading else ""), text)
    for other in others:
        add(*other)
    for task in tasks:
        summary = task.card.summary if task.card else ""
        meanings = " ".join(f"{metric.name}: {metric.doc}." for metric in task.metrics)
        add(task.title, "task", task_page(task.name), f"{task.name} {summary} {task.known.readme}")
        if meanings:
            add(task.title, "What the metrics mean", f"{task_page(task.name)}#metrics", meanings)
    for method in all_methods:
        summary = method.card.summary if method.card else ""
        add(
            method.title, "method", method_page(method.name), f"{method.name} {summary} {method.known.readme}"
        )
    return f"const INDEX = {json.dumps(entries, ensure_ascii=False)};\n"
