"""Turns Markdown into HTML. Tags in it appear as text. Its links lead to pages of the site or outside."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath
from posixpath import normpath
from urllib.parse import urlsplit

from ebbench.site.addresses import method_page, task_page
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

# The folders whose READMEs are pages, and what the pages are of.
TASKS, METHODS = "tasks", "baselines"


def anchor(heading: str) -> str:
    """The id of a heading: its words in lower case with hyphens between them."""
    return "-".join(re.findall(r"[^\W_]+", re.sub(r"\]\([^)]*\)", "", heading).lower())) or "section"


def _reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _named(tokens: Sequence[Token]) -> Iterator[tuple[Token, Token, str]]:
    """The headings among tokens: where each opens, its words, and an id that no other one has."""
    taken = {"main"}
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            name = anchor(token.content)
            name = name if name not in taken else f"{name}-{len(taken)}"
            taken.add(name)
            yield before, token, name


@dataclass(frozen=True)
class Prose:
    """Turns Markdown into HTML. `words` are the pages made of the project's files, by the file."""

    words: Mapping[str, str]
    tasks: Collection[str]
    methods: Collection[str]

    def html(self, text: str, *, source: str, page: str, anchors: bool = False) -> Markup:
        """The Markdown `text` of the file `source` (from the project's root), to be put into `page`.

        With `anchors` each heading gets an id, for a page that has no other ids.
        """
        markdown = _reader()
        tokens = markdown.parse(text)
        for before, _, name in _named(tokens) if anchors else ():
            before.attrs["id"] = name
        for token in tokens:
            if token.children:
                token.children = self._linked(token.children, source, "../" * page.count("/"))
        rendered = markdown.renderer.render(tokens, markdown.options, {})
        # A long line scrolls, also for those who have no mouse.
        return Markup(rendered.replace("<pre>", '<pre tabindex="0">'))

    def headings(self, text: str) -> list[tuple[str, str, str]]:
        """The headings of a text that `html` gives anchors: id, Markdown, and "h1" to "h6"."""
        return [(name, token.content, before.tag) for before, token, name in _named(_reader().parse(text))]

    def _linked(self, tokens: list[Token], source: str, root: str) -> list[Token]:
        """The tokens of a line, with links to the site's pages. A dead link leaves its words."""
        kept = []
        ends = []
        for token in tokens:
            if token.type == "link_open":
                ends.append(self._link(token, source, root))
                kept += [token] if ends[-1] else []
            elif token.type == "link_close":
                kept += [token] if ends.pop() else []
            else:
                kept += self._image(token, source, root) if token.type == "image" else [token]
        return kept

    def _link(self, token: Token, source: str, root: str) -> bool:
        """Point a link to the site's own page of its target. Return whether it leads anywhere."""
        address = str(token.attrs["href"])
        parts = urlsplit(address)
        if address.startswith("#"):
            return True
        if parts.scheme or parts.netloc:
            # A stranger may have written the text: the site does not vouch for its links.
            token.attrs["rel"] = "nofollow noopener"
            return parts.scheme in ("http", "https", "mailto")
        page = self._page(parts.path, source)
        if page:
            # The board stands for the project's README, but has none of its headings.
            heading = f"#{parts.fragment}" if parts.fragment and page != "index.html" else ""
            token.attrs["href"] = f"{root}{page}{heading}"
        return bool(page)

    def _page(self, path: str, source: str) -> str:
        """The page of the file at `path` beside `source`; "" where the site has none."""
        file = PurePosixPath(normpath(PurePosixPath(source).parent / path))
        if str(file) in self.words:
            return self.words[str(file)]
        folder = file.parent if file.name == "README.md" else file
        if folder.parent.name == TASKS and folder.name in self.tasks:
            return task_page(folder.name)
        if folder.parent.name == METHODS and folder.name in self.methods:
            return method_page(folder.name)
        # The project's own page is the board.
        return "index.html" if str(file) == "README.md" else ""

    def _image(self, token: Token, source: str, root: str) -> list[Token]:
        """The image if it is among the project's figures, else its words: pages load nothing from outside."""
        path = normpath(PurePosixPath(source).parent / str(token.attrs["src"]))
        if not path.startswith("docs/figures/"):
            return self._linked(token.children or [], source, root)
        token.attrs["src"] = root + path.removeprefix("docs/")
        return [token]
