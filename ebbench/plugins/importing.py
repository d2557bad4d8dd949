"""A plug-in's main module, imported so that no plug-in meets the modules of another."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from ebbench.plugins.code import installed
from ebbench.plugins.loaded import package_of
from ebbench.plugins.process import kept

# By package: the hash of the code that was imported.
_imported: dict[str, str] = {}
# The folders that plug-ins put on sys.path while they were imported, the last one's first.
_folders: list[str] = []
# The names of the modules that were imported from those folders.
_brought: set[str] = set()


def main_module(folder: Path, stem: str, code: str) -> types.ModuleType:
    """The module `stem` of a plug-in's folder; imported anew where `code`, its hash, is another than before.

    A plug-in that puts its folder on `sys.path` has modules of plain names, such as "utils". They are
    forgotten when the next plug-in is imported, which may have its own; who has them keeps them. Raises
    whatever the code raises, and leaves no half of it behind.
    """
    package = package_of(folder)
    name = f"{package}.{stem}"
    if name in sys.modules and _imported.setdefault(package, code) == code:
        return sys.modules[name]
    _forget(package)
    for stranger in _brought & sys.modules.keys():
        del sys.modules[stranger]
    modules = set(sys.modules)
    added: list[str] = []
    try:
        with plain_path() as before, kept():
            importlib.invalidate_caches()
            module = importlib.import_module(name)
            added = [place for place in sys.path if place not in before]
    except BaseException:
        _forget(package)
        raise
    finally:
        _brought.update(one for one in sys.modules.keys() - modules if _lies_in(one, added))
        _folders[:] = [*added, *(place for place in _folders if place not in added)]
        # There for later imports of the plug-in, at the end, where they hide nobody else's modules.
        sys.path[:] = [*(place for place in sys.path if place not in _folders), *_folders]
    _imported[package] = code
    return module


@contextlib.contextmanager
def plain_path() -> Iterator[list[str]]:
    """Within the block, `sys.path` is as it was before any plug-in; it is what the block gets."""
    before = list(sys.path)
    sys.path[:] = [place for place in before if place not in _folders]
    try:
        yield list(sys.path)
    finally:
        sys.path[:] = before


def _lies_in(name: str, folders: list[str]) -> bool:
    """Whether a module's file lies in one of the folders, and in no installed package there."""
    file = getattr(sys.modules[name], "__file__", None)
    if not file or installed(Path(file).parent):
        return False
    return any(Path(file).resolve().is_relative_to(Path(folder).resolve()) for folder in folders)


def _forget(package: str) -> None:
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]
