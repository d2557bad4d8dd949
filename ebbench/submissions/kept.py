"""What a board keeps of a bundle beside its results: its card, README, licence and code, as plain text."""

from __future__ import annotations

from pathlib import Path

from ebbench.errors import BundleError
from ebbench.storage.runstore import write
from ebbench.submissions.bundles import Bundle, is_text

FOLDER = "submissions"
# Bytes of one text, and of a bundle's together: a page is to be read.
MOST_TEXT, MOST_ALL = 256 << 10, 1 << 20


def keep(bundle: Bundle, results: Path) -> list[str]:
    """Write the texts of a bundle to `results`/submissions/, in a folder that goes by the bundle's SHA-256.

    Each file gets the ending .txt: none is a result, and none is code that anything would import. Gives the
    entries that are left out: no UTF-8, larger than `MOST_TEXT`, or beyond `MOST_ALL` together. Raises
    BundleError where another bundle's texts lie there.
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
    # Two bundles can be made whose hashes begin alike: one must not show the other's code. What is there may
    # be a part, where an earlier try was interrupted.
    if any(kept.get(name) != text for name, text in there.items()):
        raise BundleError(
            "the texts of another bundle lie where its own belong",
            where=str(folder),
            expected="no such folder, or texts of this bundle",
            fix="`verification.details.bundle` of a result names its bundle; remove what belongs to none",
        )
    for name, text in kept.items():
        write(folder / name, text)
    return left


def _order(entry: tuple[str, bytes]) -> tuple[bool, bool, str]:
    """Code last, its Python before the rest: a licence must not fall to the bound on all."""
    name = entry[0]
    licence = name.removeprefix("model/").upper().startswith(("LICENSE", "LICENCE", "COPYING"))
    return (name.startswith("model/") and not licence, not name.endswith(".py"), name)


def _plain(text: bytes) -> bool:
    return len(text) <= MOST_TEXT and is_text(text)
