"""Import the main modules of plug-ins so that no plug-in gets the modules of another."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

from ebbench.plugins.code import installed
from ebbench.plugins.loaded import package_of
from ebbench.plugins.process import kept

# The hash of the imported code, by package.
_imported: dict[str, str] = {}
# The hashes of the modules outside of plug-ins' folders that plug-ins have imported, by dotted name.
_outside: dict[str, str] = {}
# The folders that plug-ins put on sys.path while they were imported, the last one's first.
_folders: list[str] = []
# The names of the modules that were imported from those folders.
_brought: set[str] = set()


def main_module(folder: Path, stem: str, code: str, files: Mapping[str, str]) -> types.ModuleType:
    """Import the module `stem` of a plug-in's folder. If the hash `code` has changed, import it again.

    `files` are the hashes behind it (`Source.files`). Modules outside the folder that have changed since a
    plug-in imported them are imported again too.

    A plug-in that puts its folder on `sys.path` has modules with plain names, such as "utils". They are
    removed from `sys.modules` before the next plug-in is imported, which may have modules with the same
    names. Code that has imported them keeps them. Raises whatever the code raises, and then leaves nothing
    partly imported.
    """
    package = package_of(folder)
    name = f"{package}.{stem}"
    if name in sys.modules and _imported.setdefault(package, code) == code:
        return sys.modules[name]
    _forget(package)
    for outside, digest in files.items():
        if _outside.get(outside, digest) != digest:
            # The whole package: it holds the old module as an attribute.
            _forget(outside.partition(".")[0])
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
        # Keep the folders for later imports of the plug-in. At the end, they hide no other modules.
        sys.path[:] = [*(place for place in sys.path if place not in _folders), *_folders]
    _imported[package] = code
    own = {name for name in files if name.partition(".")[0] != "ebbench"}
    _outside.update({name: files[name] for name in own & sys.modules.keys()})
    return module


@contextlib.contextmanager
def plain_path() -> Iterator[list[str]]:
    """Within this context, `sys.path` has no folders of plug-ins. Yields this path."""
    before = list(sys.path)
    sys.path[:] = [place for place in before if place not in _folders]
    try:
        yield list(sys.path)
    finally:
        sys.path[:] = before


def _lies_in(name: str, folders: list[str]) -> bool:
    """Whether a module's file lies in one of the folders, but not in an installed package there."""
    file = getattr(sys.modules[name], "__file__", None)
    if not file or installed(Path(file).parent):
        return False
    return any(Path(file).resolve().is_relative_to(Path(folder).resolve()) for folder in folders)


def _forget(package: str) -> None:
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        del sys.modules[name]
