"""The list beside a document: the other documents of its kind, and the sections of the document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ebbench.site import words
from ebbench.site.prose import Prose

# A document with fewer sections has no list of them.
LEAST_SECTIONS = 2
# Pages of the docs that the code generates: address and title.
METRICS, API, COMMANDS = (
    ("docs/metrics.html", "Metrics"),
    ("docs/api.html", "Python API"),
    ("docs/commands.html", "Commands"),
)


@dataclass(frozen=True)
class Entry:
    """One page of the list. `sections` (address, words) is empty unless this is the page itself."""

    page: str
    title: str
    here: bool
    sections: Sequence[tuple[str, str]] = field(default_factory=list)


def beside(page: str, listed: Sequence[tuple[str, str]], sections: Sequence[tuple[str, str]]) -> list[Entry]:
    """The list for `page` among the pages `listed`, each an address and a title."""
    shown = sections if len(sections) >= LEAST_SECTIONS else []
    return [Entry(one, title, one == page, shown if one == page else []) for one, title in listed]


def of_docs(documents: Sequence[words.Document], commands: bool) -> list[tuple[str, str]]:
    """The pages of the docs in the order of the overview's links. Generated pages come last."""
    pages = {
        one.page: short(one.title)
        for one in documents
        if not one.page.startswith("findings") and one.source != words.DOCS
    }
    overview = next((one.text for one in documents if one.source == words.DOCS), "")
    by_source = {one.source: one.page for one in documents}
    first = [by_source[source] for source in words.linked(overview) if by_source.get(source) in pages]
    listed = [(page, pages[page]) for page in dict.fromkeys([*first, *pages])]
    return [*listed, METRICS, API, *([COMMANDS] if commands else [])]


def of_findings(found: Sequence[words.Document]) -> list[tuple[str, str]]:
    """The pages of the findings, in their order."""
    return [(one.page, short(one.title)) for one in found]


def short(title: str) -> str:
    """The part of a title before its colon."""
    return title.partition(":")[0]


def sections(prose: Prose, text: str) -> list[tuple[str, str]]:
    """The sections of a Markdown text."""
    return [(name, words.plain(heading)) for name, heading, level in prose.headings(text) if level == "h2"]
