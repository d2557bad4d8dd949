"""The site's pages for tests: what is in one, and the committed results that they are made of."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from ebbench.record import resultfiles

COMMITTED = Path(__file__).resolve().parents[1] / "results"


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        # What a browser gets for the page itself.
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if tag in ("img", "script") or (tag == "link" and found.get("rel") in ("stylesheet", "icon")):
            self.loaded += [found.get("src") or found.get("href") or ""]
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            if name == "id" and value:
                self.ids.append(value)


def parsed(path: Path) -> Links:
    links = Links()
    links.feed(path.read_text(encoding="utf-8"))
    return links


def one_of(task: str, model: str) -> Path:
    return sorted((COMMITTED / task / model).glob("*.json"))[0]


def changed(some: Path, name: str, **parts: object) -> Path:
    """A result of the VAE once more, with parts of another value, in a file of that name."""
    raw = resultfiles.read(one_of("gaussian", "vae")).model_dump(mode="json")
    for path, value in parts.items():
        *parents, last = path.split("__")
        place = raw
        for parent in parents:
            place = place[parent]
        place[last] = value
    raw |= {"run_id": parts.get("run_id", name), "pictures": {}}
    file = some / "odd" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(raw))
    return file
