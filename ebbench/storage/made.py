"""Remember which results this machine made: a mark for each result that `ebbench run` wrote here.

A result file does not show where it was made, so it could be passed on as one's own. The marks are files in
ebbench's home, where no bundle and no pull request can write.
"""

from __future__ import annotations

from ebbench.storage.files import home
from ebbench.storage.runstore import write


def mark(digest: str) -> None:
    """Write the mark of a result, by its digest (`Result.digest`)."""
    write(home() / "made" / digest, b"")


def is_marked(digest: str) -> bool:
    """Whether the result with this digest was made on this machine. Any change to it changes the digest."""
    return (home() / "made" / digest).is_file()
