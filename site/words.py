"""The project's Markdown as pages: which file is which page, one page a finding, and an index to search."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ebbench.site.addresses import method_page, slug, task_page
from ebbench.site.prose import anchor
from ebbench.site.views import MethodView, TaskView

# The pages that have a name of their own: file, page, title.
NAMED = {
    "docs/findings.md": ("findings.html", "Findings"),
    "docs/protocols.md": ("protocols.html", "Protocols"),
    "docs/submitting.md": ("submit.html", "Submit"),
    "docs/trust.md": ("trust.html", "Trust"),
    "docs/table.md": ("statistics.html", "About the statistics"),
    "docs/glossary.md": ("glossary.html", "Glossary"),
    "CHANGELOG.md": ("changelog.html", "Changelog"),
}
FINDINGS = "docs/findings.md"
# Those that stand in the navigation of every page, in its order.
FIRST = ("docs/findings.md", "docs/protocols.md", "docs/submitting.md", "docs/trust.md")
# Characters of a section that are searched.
MOST_SEARCHED = 6000


@dataclass(frozen=True)
class Document:
    """A page of words: its file in the project, its address, its title, its Markdown, its first sentence."""

    source: str
    page: str
    title: str
    text: str

    @property
    def summary(self) -> str:
        """The first sentence below the title."""
        if self.source == FINDINGS and self.page == NAMED[FINDINGS][0]:
            return "What the runs say beyond the tables: a page each."
        for part in re.split(r"\n\s*\n", self.text):
            if part.strip() and not re.match(r"\s*(#|\||```|!\[|- )", part):
                return re.split(r"(?<=[.?!:])\s", plain(part))[0]
        return ""


def documents(project: Path) -> list[Document]:
    """The files of a checkout that are pages; none of an installed package."""
    files = [path for path in sorted((project / "docs").rglob("*.md")) if path.is_file()]
    if (project / "CHANGELOG.md").is_file() and files:
        files.append(project / "CHANGELOG.md")
    made = []
    for path in files:
        source = path.relative_to(project).as_posix()
        text = path.read_text(encoding="utf-8")
        heading = re.match(r"\s*#\s+(.+)", text)
        title = heading[1].strip() if heading else path.stem.replace("-", " ").capitalize()
        page = source.removeprefix("docs/").removesuffix(".md") + ".html"
        page = page if page.startswith("findings/") else f"docs/{page}"
        page, title = NAMED.get(source, (page, plain(title)))
        made.append(Document(source, page, title, text))
    return made


def findings(found: Sequence[Document]) -> list[Document]:
    """One document a finding: the sections of the page of findings, then the files of that folder."""
    made = []
    for one in found:
        if one.source == FINDINGS:
            for section in re.split(r"^(?=## )", one.text, flags=re.M)[1:]:
                heading, _, text = section.partition("\n")
                title = plain(heading.removeprefix("## "))
                page = f"findings/{slug(anchor(title)[:60])}.html"
                made.append(Document(one.source, page, title, text))
        elif one.page.startswith("findings/"):
            made.append(one)
    return made


def figure(one: Document) -> tuple[str, str] | None:
    """The words and the name of the first figure of a document."""
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


def index(found: Sequence[Document], tasks: Sequence[TaskView], all_methods: Sequence[MethodView]) -> str:
    """A script that holds what can be searched: title, heading, address and text of each section."""
    entries: list[dict[str, str]] = []

    def add(title: str, heading: str, address: str, text: str) -> None:
        entries.append({"t": title, "h": heading, "u": address, "x": plain(text)[:MOST_SEARCHED]})

    for one in found:
        for heading, text in sections(one):
            add(one.title, heading, one.page + (f"#{anchor(heading)}" if heading else ""), text)
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
