"""Describe an error that a plug-in raised, and find its line."""

from __future__ import annotations

import traceback
from pathlib import Path

from ebbench.errors import shown


def fault(error: BaseException, folder: Path) -> str:
    """`file:line` of the innermost frame of `error` inside `folder`, relative to the folder's parent."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown(Path(error.filename))}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(folder):
            return f"{folder.name}/{path.relative_to(folder).as_posix()}:{frame.lineno}"
    return folder.name


def said(error: BaseException) -> str:
    """The class and the text of an error. A stranger's error may raise when it is asked for its text."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__} (its text cannot be read)"
