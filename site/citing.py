"""The papers on the cards as BibTeX entries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ebbench.site.views import MethodView, TaskView

from ebbench.plugins.cards import Card


def bibtex(task: TaskView, all_methods: Sequence[MethodView]) -> str:
    """The papers of a task and of the methods with a row on it."""
    cited: dict[str, Card] = {task.name: task.card} if task.card else {}
    cited |= {m.name: m.card for m in all_methods if m.card and any(t.name == task.name for t, _ in m.tasks)}
    return entries(cited)


def entries(cited: Mapping[str, Card]) -> str:
    """The BibTeX entries of the cards that name a paper. `cited` has them by the name of the plug-in."""
    made = []
    for name, card in cited.items():
        if not card.paper:
            continue
        authors = re.split(r",\s*|;\s*", card.authors)
        fields = {
            "title": card.paper,
            "author": " and ".join(author for author in authors if author),
            "year": str(card.year or ""),
            "url": card.url,
        }
        key = f"{re.sub(r'[^a-z0-9]', '', name)}{card.year or ''}"
        lines = [f"  {field} = {{{_bibtex_text(value)}}}," for field, value in fields.items() if value]
        made.append("\n".join([f"@misc{{{key},", *lines, "}"]))
    return "\n\n".join(made) + "\n" if made else ""


def _bibtex_text(text: str) -> str:
    return " ".join(re.sub(r"[{}\\]", "", text).replace("&", r"\&").replace("%", r"\%").split())
