"""Find what a Python source imports, and where it makes Python look for modules. The source does not run."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ebbench.plugins.canonical import does_nothing

# A source that uses one of these names may import a module by a name in a text.
_BY_TEXT = {"import_module", "__import__", "importlib", "runpy", "pkgutil"}
_DOTTED = re.compile(r"(\.*)(\w[\w-]*(?:\.\w[\w-]*)*)")


@dataclass(frozen=True, order=True)
class Import:
    """One import. `from ..module import names` has level 2, and `import module` has no names.

    `sure` is false for a text that may or may not be a module's name.
    """

    level: int
    module: str
    names: tuple[str, ...] = ()
    sure: bool = True


def imports(tree: ast.Module) -> list[Import]:
    """Every import of a source, sorted, including those inside functions."""
    found: set[Import] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {Import(0, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(Import(node.level, node.module or "", tuple(alias.name for alias in node.names)))
    if _words(tree) & _BY_TEXT:
        for text in _texts(tree):
            if match := _DOTTED.fullmatch(text):
                found.add(Import(len(match[1]), match[2], sure=False))
    return sorted(found)


def named_files(tree: ast.Module) -> list[str]:
    """The texts in a source that name a Python file, which the source may run by its path."""
    return sorted({text for text in _texts(tree) if text.endswith(".py") and "\0" not in text})


def starred(tree: ast.Module) -> list[str]:
    """The modules that `from package import *` may import: the texts in the package's `__init__`."""
    return sorted(text for text in _texts(tree) if text.isidentifier())


def search_folders(tree: ast.Module, file: Path) -> list[Path]:
    """The folders that a source puts on `sys.path`, as far as this can be found without running it."""
    values = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
    }
    found = []
    for expression in _put_on_the_path(tree):
        text = _Paths(file, values).text(expression)
        if text:
            found.append(Path(os.path.abspath(text)))
    return found


def _put_on_the_path(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if _is_the_path(node.func.value) or node.func.attr == "addsitedir":
                given = node.args
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            given = [node.value] if any(_is_the_path(target) for target in targets) else []
        for expression in given:
            # `sys.path += [...]` and `sys.path = [..., *sys.path]`.
            yield from expression.elts if isinstance(expression, ast.List | ast.Tuple) else [expression]


def _is_the_path(node: ast.expr) -> bool:
    """Whether an expression is `sys.path` or a slice of it."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return (
        isinstance(node, ast.Attribute)
        and node.attr == "path"
        and isinstance(node.value, ast.Name)
        and node.value.id in ("sys", "_sys")
    )


def _words(tree: ast.Module) -> set[str]:
    """Every name that a source uses."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found |= set(node.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            found |= set((node.module or "").split("."))
    return found


def _texts(tree: ast.Module) -> set[str]:
    """Every text in a source except its docstrings."""
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and does_nothing(node)}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
    }


# Calls that return their argument, or their object, as a path.
_SAME = {"Path", "PurePath", "str", "fspath", "abspath", "absolute", "normpath", "as_posix"}
_RESOLVED = {"resolve", "realpath"}
_JOINED = {"join", "joinpath"}


class _Paths:
    """Evaluates path expressions made of `__file__`, texts, and functions of pathlib and os.path."""

    def __init__(self, file: Path, values: dict[str, ast.expr]) -> None:
        self._file, self._values = file, values

    def text(self, node: ast.expr, depth: int = 0) -> str | None:
        """The path that an expression stands for, or None if this cannot be found."""
        if depth > 20:  # the name refers to itself
            return None
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) and "\0" not in node.value else None
        if isinstance(node, ast.Name):
            if node.id == "__file__":
                return str(self._file)
            return self.text(self._values[node.id], depth + 1) if node.id in self._values else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Add):
            left, right = self.text(node.left, depth + 1), self.text(node.right, depth + 1)
            if left is None or right is None:
                return None
            return os.path.join(left, right) if isinstance(node.op, ast.Div) else left + right
        if isinstance(node, ast.Attribute):
            if node.attr in ("pardir", "curdir"):
                return {"pardir": os.pardir, "curdir": os.curdir}[node.attr]
            inner = self.text(node.value, depth + 1) if node.attr == "parent" else None
            return None if inner is None else os.path.dirname(inner)
        if isinstance(node, ast.Subscript):
            return self._ancestor(node, depth)
        return self._called(node, depth) if isinstance(node, ast.Call) else None

    def _ancestor(self, node: ast.Subscript, depth: int) -> str | None:
        """The path for `path.parents[n]`, or None."""
        of, at = node.value, node.slice
        if not (isinstance(of, ast.Attribute) and of.attr == "parents" and isinstance(at, ast.Constant)):
            return None
        path = self.text(of.value, depth + 1)
        for _ in range(at.value + 1 if isinstance(at.value, int) and path is not None else 0):
            path = os.path.dirname(path or "")
        return path

    def _called(self, node: ast.Call, depth: int) -> str | None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("cwd", "getcwd"):
            return os.getcwd()
        given = [self.text(argument, depth + 1) for argument in node.args]
        # For `path.resolve()` and `os.path.realpath(path)`. If there is an object, it comes first.
        of = self.text(node.func.value, depth + 1) if isinstance(node.func, ast.Attribute) else None
        whole = [part for part in [of, *given] if part is not None]
        if None in given or not whole:
            return None
        if name in _RESOLVED:
            return os.path.realpath(whole[0])
        if name == "expanduser":
            return os.path.expanduser(whole[0])
        if name == "dirname":
            return os.path.dirname(whole[0])
        if name == "with_name" and len(whole) == 2:
            return os.path.join(os.path.dirname(whole[0]), whole[1])
        if name in _SAME or name in _JOINED:
            return os.path.join(*whole)
        return None
