"""The canonical form of a Python source, and its hash.

Comments, docstrings, blank lines and line breaks are not part of the form. Every name and every constant is.
The form is the same on every version of Python from 3.11 on, and so is its hash.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import warnings
from collections.abc import Iterator
from typing import Any

# Fields of the syntax tree that are left out. `kind` is the u of u"text"; a type comment is a comment.
_SILENT = {"kind", "type_comment", "type_ignores"}


@functools.lru_cache(maxsize=512)
def parsed(source: bytes) -> ast.Module | None:
    """The syntax tree of a source, or None if it does not parse. The cached tree must not be changed."""
    try:
        with warnings.catch_warnings():
            # Ignore warnings, such as that about an invalid escape in a stranger's string.
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.lru_cache(maxsize=512)
def canonical_hash(source: bytes) -> str:
    """SHA-256 of the canonical form, or of the bytes themselves if they do not parse."""
    tree = parsed(source)
    if tree is None:
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256()
    for text in _form(tree):
        digest.update(text.encode())
    return digest.hexdigest()


def does_nothing(statement: ast.AST) -> bool:
    """Whether a statement is `pass`, a docstring, or another constant on its own."""
    bare = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return bare or isinstance(statement, ast.Pass)


def _form(tree: ast.AST) -> Iterator[str]:
    # Use a stack instead of recursion: how deep Python may recurse depends on the caller. An item on the
    # stack is a node, a list of nodes, or finished text.
    waiting: list[ast.AST | list[Any] | str] = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            waiting.append("]")
            waiting += [_item(value) for value in reversed(item)]
            waiting.append("[")
        else:
            waiting.append(")")
            for name, value in sorted(ast.iter_fields(item), reverse=True):
                value = _said(item, value)
                # Skip empty fields: an older Python may not have them.
                if name not in _SILENT and value is not None and value != []:
                    waiting += [_item(value), f" {name}="]
            waiting.append(f"{type(item).__name__}(")


def _said(node: ast.AST, value: Any) -> Any:
    """The value of a field, without statements that do nothing."""
    if not isinstance(value, list):
        return value
    if isinstance(node, ast.JoinedStr):
        # Some versions leave empty text between the values of an f-string.
        return [part for part in value if not (isinstance(part, ast.Constant) and part.value == "")]
    return [part for part in value if not (isinstance(part, ast.stmt) and does_nothing(part))]


def _item(value: Any) -> ast.AST | list[Any] | str:
    if isinstance(value, ast.AST | list):
        return value
    # Use hexadecimal, since Python refuses to write very long numbers in decimal. Use ASCII, since the set of
    # printable characters depends on the version.
    return f"{value:#x}" if type(value) is int else ascii(value)
