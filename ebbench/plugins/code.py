"""What a plug-in's code is, as a hash."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path


def blocks(sources: Iterable[Path]) -> dict[str, Path]:
    """The files of `ebbench.nn` that these sources import, directly or through one another, by name."""
    folder = Path(__file__).parents[1] / "nn"
    found: dict[str, Path] = {}
    waiting = list(sources)
    while waiting:
        source = waiting.pop()
        for block in _imported(source, inside=source.parent == folder):
            name, path = f"ebbench/nn/{block}.py", folder / f"{block}.py"
            if name not in found and path.is_file():
                found[name] = path
                waiting.append(path)
    return found


def _imported(source: Path, inside: bool) -> set[str]:
    """The names after `ebbench.nn.` in what a file imports; `inside` that package it may do so by a dot."""
    try:
        tree = ast.parse(source.read_text(encoding="utf-8", errors="replace"))
    except SyntaxError:
        # It imports nothing; where it is imported itself, the error is reported.
        return set()
    dotted: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (inside or not node.level):
            parent = ".".join(filter(None, ["ebbench.nn" if node.level else "", node.module]))
            dotted += [f"{parent}.{alias.name}" for alias in node.names]
    return {name.split(".")[2] for name in dotted if name.startswith("ebbench.nn.")}
