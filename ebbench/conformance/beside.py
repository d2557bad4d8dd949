"""Check the files of a plug-in's folder: those beside the code, and those written while the code runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ebbench.errors import ContractError
from ebbench.plugins import loader

# At most this many files are looked at. A folder with more holds a whole project, not only a plug-in.
MOST = 5000
NAMED = 5

Listing = Mapping[str, tuple[int, int]]


def listing(folder: Path) -> Listing:
    """The size and the modification time of each file of a folder, by its path in the folder.

    Hidden files and `__pycache__` are left out.
    """
    found = {}
    for path in _files(folder):
        try:
            stat = path.stat()
        except OSError:  # a broken link, or a file that was removed meanwhile
            continue
        found[path.relative_to(folder).as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return found


def check_untouched(folder: Path, before: Listing, wrote_at: str) -> str:
    """Raise ContractError if files in the folder differ from the listing `before`.

    `wrote_at` is the line that wrote there, if known. Return a remark otherwise.
    """
    after = listing(folder)
    touched = sorted({name for name, _ in set(before.items()) ^ set(after.items())})
    if touched:
        raise ContractError(
            f"the plug-in writes into its own folder: {_named(touched)}",
            where=wrote_at or folder.name,
            expected="a folder that runs do not change: it may be read-only, or in use by others",
            fix="store what must survive in the model, in its state_dict; write the rest elsewhere",
        )
    return "nothing was written there"


def uncovered(plugin: loader.Plugin) -> str:
    """A remark on files that neither the code hash nor the card's `files` covers; "" if there are none.

    Markdown files, the card and claims need not be covered. Python files need not be either: the hash covers
    those that the code imports.
    """
    known = {*plugin.source.files, *plugin.data_source.files, "card.toml", "claims.toml"}
    names = [
        name for name in listing(plugin.folder) if name not in known and not name.endswith((".md", ".py"))
    ]
    if not names:
        return ""
    return (
        f"not part of the code hash: {_named(names)}; if the code reads one of them, add it to the card: "
        'files = ["..."]'
    )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _files(folder: Path) -> Iterator[Path]:
    found = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _private(name))
        for name in sorted(names):
            if _private(name):
                continue
            yield Path(parent, name)
            found += 1
            if found == MOST:
                return


def _private(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"
