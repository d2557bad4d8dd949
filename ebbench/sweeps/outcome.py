"""Record in a file how one submission of a run stands, for machines that cannot see its process."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ebbench.storage.files import write_atomically

# Bytes at the end of a log that may hold the error.
_LOG_END = 16_384


@dataclass(frozen=True)
class Outcome:
    """A run that was started, and how it ended.

    `exit_code` is as a shell reports it (128 + the signal that ended the run), or None while it runs.
    `submission` distinguishes this submission from earlier ones of the same run. `began` is in seconds since
    1970, and `seconds` is how long the run took.
    """

    submission: str
    host: str
    pid: int
    began: float
    seconds: float = 0.0
    exit_code: int | None = None


def begun(submission: str, pid: int) -> Outcome:
    """The outcome of a process that was just started on this machine."""
    return Outcome(submission, platform.node(), pid, time.time())


def outcome_file(log: Path) -> Path:
    """The file of a run's outcome, beside its log."""
    return log.with_suffix(".json")


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write an outcome atomically. Errors are ignored: a run must not fail because of this file."""
    with contextlib.suppress(OSError):
        write_atomically(path, json.dumps(asdict(outcome)).encode())


def read_outcome(path: Path, submission: str = "") -> Outcome | None:
    """Read an outcome; None if the file is missing or invalid.

    With `submission`, an outcome of another submission gives None too.
    """
    try:
        found = Outcome(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if submission in ("", found.submission) else None


def new_submission() -> str:
    """Return a new random name for a submission."""
    return os.urandom(8).hex()


def last_words(log: Path) -> str:
    """The error at the end of a log, in one line; its last lines if it has no error."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"its log cannot be read: {error}"
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    chosen = lines[errors[-1] :] if errors else lines[-5:]
    text = "; ".join(line.strip() for line in chosen[:8] if line.strip())
    # The log may hold output of a plug-in, which must not control the terminal.
    return "".join(character if character.isprintable() else "?" for character in text)
