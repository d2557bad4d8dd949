"""Where a page of the site is: addresses from its root, of names that may be anyone's."""

from __future__ import annotations

import hashlib
import re

from ebbench.record.schema import Result

# Of a name in a file's name; a file system allows 255 bytes, and endings come after it.
LONGEST = 100


def task_page(name: str) -> str:
    """The page of a task."""
    return f"tasks/{slug(name)}.html"


def method_page(name: str) -> str:
    """The page of a method."""
    return f"methods/{slug(name)}.html"


def result_folder(result: Result) -> str:
    """The folder of a result's page, its JSON and its pictures."""
    return f"results/{slug(result.task.name)}/{slug(result.model.name)}"


def result_page(result: Result) -> str:
    """The page of a result."""
    return f"{result_folder(result)}/{result.run_id}.html"


def slug(name: str) -> str:
    """A name as part of a file's name: no separators, no surprises, and no two names alike."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
    if plain == name and len(name) <= LONGEST:
        return name
    return f"{plain[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def web_address(text: str) -> str:
    """An address that may be linked: a card may come from a stranger, and "javascript:" is an address too."""
    return text if re.fullmatch(r"https?://\S+", text) else ""
