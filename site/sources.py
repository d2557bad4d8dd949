"""Source code as pages, with a place for each line, and where in it a metric is declared and computed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, TextLexer, TOMLLexer

_LEXERS = {".py": PythonLexer, ".toml": TOMLLexer}
# Bytes of a file that is coloured: a longer one is shown plain.
MOST_BYTES = 400_000


@dataclass(frozen=True)
class Place:
    """A line of a file; `what` is what stands there."""

    what: str
    file: str
    line: int


def coloured(text: str, name: str, ids: str = "L") -> Markup:
    """The text as HTML, each line under an id such as "L-12" (none without `ids`), coloured by classes."""
    lexer = _LEXERS.get(Path(name.removesuffix(".txt")).suffix, TextLexer)
    lexer = TextLexer if len(text) > MOST_BYTES else lexer
    formatter = HtmlFormatter(nowrap=False, linespans=ids, cssclass="code", wrapcode=True)
    # pygments escapes what it writes.
    return Markup(highlight(text, lexer(stripnl=False), formatter))


def python_files(folder: Path) -> list[Path]:
    """The modules that lie in a plug-in's folder, its own first."""
    found = [path for path in folder.glob("*.py") if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.name not in ("task.py", "model.py"), path.name))


def places(metric: str, files: Sequence[tuple[str, ast.Module]]) -> list[Place]:
    """Where a metric is declared and where its value is put: the first hit of each in the parsed files."""
    found: dict[str, Place] = {}
    for name, tree in files:
        for node in ast.walk(tree):
            for what, line in _hits(node, metric):
                found.setdefault(what, Place(what, name, line))
    return [found[what] for what in ("declared", "computed") if what in found]


def _hits(node: ast.AST, metric: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Call) and _is_metric(node):
        named = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]
        if any(_is(one, metric) for one in named):
            yield "declared", node.lineno
    elif isinstance(node, ast.Dict):
        for key in node.keys:
            if key is not None and _is(key, metric):
                yield "computed", key.lineno
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and _is(node.slice, metric):
        yield "computed", node.lineno


def _is_metric(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return "metric" in name.lower()


def _is(node: ast.AST, text: str) -> bool:
    if isinstance(node, ast.JoinedStr):
        # f"fid{suffix}": what is written out has to be how the name begins.
        first = node.values[0] if node.values else None
        return isinstance(first, ast.Constant) and text.startswith(f"{first.value}")
    return isinstance(node, ast.Constant) and node.value == text


def parsed(files: Sequence[Path]) -> list[tuple[str, ast.Module]]:
    """The files that can be parsed, with their names."""
    made = []
    for path in files:
        try:
            made.append((path.name, ast.parse(path.read_text(encoding="utf-8"))))
        except (SyntaxError, ValueError, OSError):
            continue
    return made


def line_of_metrics(files: Sequence[tuple[str, ast.Module]]) -> Place | None:
    """Where a task lists its metrics."""
    for name, tree in files:
        for node in ast.walk(tree):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(one, ast.Name) and one.id == "metrics" for one in targets):
                return Place("declared", name, node.lineno)
    return None
