"""Source code as pages: an anchor for each line, and the lines that declare and compute a metric."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, TextLexer, TOMLLexer

_LEXERS = {".py": PythonLexer, ".toml": TOMLLexer}
# A file with more bytes is shown without colours.
MOST_BYTES = 400_000


@dataclass(frozen=True)
class Place:
    """A line of a file. `what` is "declared" or "computed", `calls` the function called there, if any."""

    what: str
    file: str
    line: int
    calls: str = ""


# A page of the code and one of the method may show the same file, and tests build many sites.
@functools.lru_cache(maxsize=256)
def coloured(text: str, name: str, ids: str = "L") -> Markup:
    """The text as HTML, each line under an id such as "L-12" (none without `ids`), coloured by classes."""
    lexer = _LEXERS.get(Path(name.removesuffix(".txt")).suffix, TextLexer)
    lexer = TextLexer if len(text) > MOST_BYTES else lexer
    formatter = HtmlFormatter(nowrap=False, linespans=ids, cssclass="code", wrapcode=True)
    # pygments escapes what it writes.
    return Markup(highlight(text, lexer(stripnl=False), formatter))


def python_files(folder: Path) -> list[Path]:
    """The modules in a plug-in's folder; task.py and model.py come first."""
    found = [path for path in folder.glob("*.py") if path.is_file() and not path.is_symlink()]
    return sorted(found, key=lambda path: (path.name not in ("task.py", "model.py"), path.name))


@dataclass(frozen=True)
class Mention:
    """A line that names a metric: by its whole name, or by its beginning, as in f"fid{suffix}"."""

    what: str
    text: str
    begins: bool
    line: int
    # The function whose value it names: "coverage.kl_to_uniform".
    calls: str = ""

    def is_of(self, metric: str) -> bool:
        """Whether this line names `metric`."""
        return metric.startswith(self.text) if self.begins else metric == self.text


# For each file: its name, its mentions, and the line that lists its metrics (0 for none).
Read = Sequence[tuple[str, list[Mention], int]]


def read(files: Sequence[Path]) -> Read:
    """The mentions of metrics in each file that Python can parse, without the numbers of papers."""
    made = []
    for path in files:
        if path.name == "published.py":
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError, OSError):
            continue
        nodes = list(ast.walk(tree))
        mentions = [mention for node in nodes for mention in _mentions(node)]
        made.append((path.name, mentions, next((line for node in nodes if (line := _lists(node))), 0)))
    return made


def places(metric: str, files: Read) -> list[Place]:
    """The first line that declares a metric and the first that computes it; else the line that lists all."""
    found: dict[str, Place] = {}
    for name, mentions, _ in files:
        for one in mentions:
            if one.is_of(metric):
                found.setdefault(one.what, Place(one.what, name, one.line, one.calls))
    if found:
        return [found[what] for what in ("declared", "computed") if what in found]
    return [Place("declared", name, line) for name, _, line in files if line][:1]


def _mentions(node: ast.AST) -> Iterator[Mention]:
    if isinstance(node, ast.Call) and _is_metric(node):
        for one in [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]:
            yield from _mention("declared", one, node.lineno)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None:
                yield from _mention("computed", key, key.lineno, _called(value))
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
        yield from _mention("computed", node.slice, node.lineno)


def _called(value: ast.expr) -> str:
    """The dotted name of the function that is called for a value; "" for another value."""
    return ast.unparse(value.func) if isinstance(value, ast.Call) else ""


def _mention(what: str, node: ast.expr, line: int, calls: str = "") -> Iterator[Mention]:
    begins = isinstance(node, ast.JoinedStr) and bool(node.values)
    named = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    if isinstance(named, ast.Constant) and isinstance(named.value, str):
        yield Mention(what, named.value, begins, line, calls)


def _is_metric(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return "metric" in name.lower()


def _lists(node: ast.AST) -> int:
    """The line of an assignment to `metrics`; 0 for anything else."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return 0
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return node.lineno if any(isinstance(one, ast.Name) and one.id == "metrics" for one in targets) else 0
