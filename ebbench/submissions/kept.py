"""What a board keeps of a bundle beside its results: its card, README, licence and code, as plain text."""

from __future__ import annotations

from pathlib import Path

from ebbench.storage.runstore import write
from ebbench.submissions.bundles import Bundle

FOLDER = "submissions"


def keep(bundle: Bundle, results: Path) -> Path:
    """Write the texts of a bundle to `results`/submissions/; the folder, which goes by the bundle's SHA-256.

    Each file gets the ending .txt: none is a result, and none is code that anything would import.
    """
    folder = results / FOLDER / bundle.sha256[:16]
    for name, text in bundle.texts.items():
        if not name.startswith("results/"):
            write(folder / f"{name.replace('/', '-')}.txt", text)
    return folder
