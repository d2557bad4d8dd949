"""The addresses of the site's pages, relative to its root. The names in them may come from strangers."""

from __future__ import annotations

import hashlib
import re

from ebbench.record.schema import Result

# The most characters that a file's name takes from a name. A file system allows 255 bytes, and the hash and
# the ending need some of them.
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
    """Return a name as a safe part of a file's name.

    Characters other than ASCII letters, digits, ".", "_" and "-" become "_", and leading dots go. A name that
    this changes, or that is too long, gets a part of its hash, so that different names stay different.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
    if plain == name and len(name) <= LONGEST:
        return name
    return f"{plain[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def web_address(text: str) -> str:
    """Return the address if it may be linked, else "".

    Only http and https may be: a card may come from a stranger, and "javascript:" is an address too.
    """
    return text if re.fullmatch(r"https?://\S+", text) else ""
