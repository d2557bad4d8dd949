"""The canonical form of a Python source: what is left of it when it says the same in other words.

Comments, docstrings, blank lines and the way that a line is broken are not part of it; every name and
every constant is. It is the same on every version of Python from 3.11 on, so that a hash of it is too.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import warnings
from collections.abc import Iterator
from typing import Any

# `kind` is the u of u"text"; a type comment is a comment.
_SILENT = {"kind", "type_comment", "type_ignores"}


@functools.lru_cache(maxsize=512)
def parsed(source: bytes) -> ast.Module | None:
    """The syntax tree of a source, or None where it does not parse. The tree must not be changed."""
    try:
        with warnings.catch_warnings():
            # An odd escape in a stranger's string is his affair, and no reason to stop.
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.lru_cache(maxsize=512)
def canonical_hash(source: bytes) -> str:
    """SHA-256 of the canonical form; of the bytes themselves where they do not parse."""
    tree = parsed(source)
    if tree is None:
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256()
    for text in _form(tree):
        digest.update(text.encode())
    return digest.hexdigest()


def does_nothing(statement: ast.AST) -> bool:
    """Whether a statement is `pass`, a docstring, or another constant that stands by itself."""
    bare = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return bare or isinstance(statement, ast.Pass)


def _form(tree: ast.AST) -> Iterator[str]:
    # With a stack of its own: how deep Python may recurse differs from caller to caller. What waits on it
    # is a node, a list of nodes, or text that is ready.
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
                # A field that is empty may be unknown to an older Python.
                if name not in _SILENT and value is not None and value != []:
                    waiting += [_item(value), f" {name}="]
            waiting.append(f"{type(item).__name__}(")


def _said(node: ast.AST, value: Any) -> Any:
    """A field's value without what does nothing."""
    if not isinstance(value, list):
        return value
    if isinstance(node, ast.JoinedStr):
        # Some versions leave empty text between the values of an f-string.
        return [part for part in value if not (isinstance(part, ast.Constant) and part.value == "")]
    return [part for part in value if not (isinstance(part, ast.stmt) and does_nothing(part))]


def _item(value: Any) -> ast.AST | list[Any] | str:
    if isinstance(value, ast.AST | list):
        return value
    # Hexadecimal, since Python refuses to write very long numbers in decimal; ASCII, since which
    # characters can be printed differs from version to version.
    return f"{value:#x}" if type(value) is int else ascii(value)
