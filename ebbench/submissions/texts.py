"""What a board keeps of a bundle that it took: card, README, licence and source, as text for its pages.

They lie in `RESULTS/submissions/<first 16 digits of the bundle's SHA-256>/`. Nobody runs them from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ebbench.errors import BundleError, StorageError
from ebbench.storage.files import write_atomically
from ebbench.submissions.bundles import Bundle

FOLDER, DIGITS = "submissions", 16
# Bytes of one text, and of all of a bundle's together: a page is to be read.
MOST_TEXT, MOST_ALL = 256 << 10, 1 << 20
_SOURCE = re.compile(r"model/[A-Za-z0-9_][A-Za-z0-9_-]{0,80}\.py")
_LICENCE = re.compile(r"model/(?:LICENSE|LICENCE|COPYING)(?:\.txt|\.md)?")


def place(results: Path, sha256: str) -> Path:
    """The folder of a bundle's texts among a board's results."""
    return results / FOLDER / sha256[:DIGITS]


def of(bundle: Bundle) -> tuple[dict[str, str], list[str]]:
    """The texts to keep, by their names on the board, and the entries of the bundle that are left out.

    Left out is what is neither source nor licence, no text in UTF-8, larger than `MOST_TEXT`, or beyond
    `MOST_ALL` together.
    """
    kept: dict[str, str] = {}
    left: list[str] = []
    size = 0
    # Sources last: a licence must not fall to the bound on all.
    for name in sorted(bundle.texts, key=lambda name: (bool(_SOURCE.fullmatch(name)), name)):
        if name.startswith("results/") or name == "manifest.json":
            continue
        own = _kept_as(name)
        text = _text(bundle.texts[name])
        if own is None or own in kept or text is None or size + len(bundle.texts[name]) > MOST_ALL:
            left.append(name)
            continue
        kept[own] = text
        size += len(bundle.texts[name])
    return kept, left


def write(results: Path, bundle: Bundle, kept: Mapping[str, str]) -> Path:
    """Write the texts below `results`; gives their folder.

    Raises BundleError where another bundle's lie there, and StorageError.
    """
    folder = place(results, bundle.sha256)
    there = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    # Two bundles can be made whose hashes begin alike: one must not show the other's source.
    if there and {name: path.read_bytes() for name, path in there.items()} != {
        name: text.encode() for name, text in kept.items()
    }:
        raise BundleError(
            "the texts of another bundle lie where its own belong",
            where=str(folder),
            expected="no such folder, or the texts of this bundle",
            fix="see which results name it in `verification.details.bundle`; remove what is none of theirs",
        )
    for name, text in kept.items():
        try:
            write_atomically(folder / name, text.encode())
        except OSError as error:
            raise StorageError(
                f"a text of the bundle cannot be written: {error.strerror or error}",
                where=str(folder / name),
                expected="a folder that can be written, on a disk with space",
                fix="free some space or choose another folder with --results; then repeat the command",
            ) from error
    return folder


def _kept_as(name: str) -> str | None:
    if name in ("card.toml", "README.md") or _SOURCE.fullmatch(name):
        return name
    return "LICENSE" if _LICENCE.fullmatch(name) else None


def _text(content: bytes) -> str | None:
    if len(content) > MOST_TEXT or b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None
