"""Keep the texts of a bundle beside its results on a board: its card, README, licence and code."""

from __future__ import annotations

from pathlib import Path

from ebbench.errors import BundleError
from ebbench.storage.runstore import write
from ebbench.submissions.bundles import Bundle, is_text

FOLDER = "submissions"
# The maximum bytes of one text, and of all texts of a bundle together. A page shows them to readers.
MOST_TEXT, MOST_ALL = 256 << 10, 1 << 20


def keep(bundle: Bundle, results: Path) -> list[str]:
    """Write the texts of a bundle to `results`/submissions/, in a folder named after the bundle's SHA-256.

    Each file gets the suffix .txt, so that no program takes it for a result or imports it as code. Return the
    entries that are left out: those that are not UTF-8, or larger than `MOST_TEXT`, or beyond `MOST_ALL`
    together. Raises BundleError if the folder holds texts of another bundle.
    """
    folder = results / FOLDER / bundle.sha256[:16]
    kept: dict[str, bytes] = {}
    left: list[str] = []
    size = 0
    for name, text in sorted(bundle.texts.items(), key=_order):
        if name.startswith("results/"):
            continue
        if not _plain(text) or size + len(text) > MOST_ALL:
            left.append(name)
            continue
        size += len(text)
        kept[f"{name.replace('/', '-')}.txt"] = text
    there = {path.name: path.read_bytes() for path in folder.glob("[!.]*") if path.is_file()}
    # An attacker can make two bundles whose hashes begin alike. One must not show the other's code. An
    # interrupted earlier call may have left only some of the files, which is fine.
    if any(kept.get(name) != text for name, text in there.items()):
        raise BundleError(
            "this folder already holds the texts of another bundle",
            where=str(folder),
            expected="no folder of that name, or the texts of this bundle",
            fix="remove the folder if no result names its bundle in `verification.details.bundle`",
        )
    for name, text in kept.items():
        write(folder / name, text)
    return left


def _order(entry: tuple[str, bytes]) -> tuple[bool, bool, str]:
    """The sort key of an entry. Code comes last, Python files before other code.

    The licence comes before the code, so that `MOST_ALL` cannot leave it out because of the code.
    """
    name = entry[0]
    licence = name.removeprefix("model/").upper().startswith(("LICENSE", "LICENCE", "COPYING"))
    return (name.startswith("model/") and not licence, not name.endswith(".py"), name)


def _plain(text: bytes) -> bool:
    return len(text) <= MOST_TEXT and is_text(text)
