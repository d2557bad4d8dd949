"""What this machine made itself: a mark for each result that `ebbench run` wrote here.

A result file does not say where it came from, so anybody could hand one on as his own. The marks lie in
ebbench's home, which no bundle and no pull request reaches.
"""

from __future__ import annotations

from ebbench.storage.files import home
from ebbench.storage.runstore import write


def mark(digest: str) -> None:
    """Remember a result by its digest (`Result.digest`)."""
    write(home() / "made" / digest, b"")


def is_marked(digest: str) -> bool:
    """Whether a result was made on this machine, as it stands."""
    return (home() / "made" / digest).is_file()
