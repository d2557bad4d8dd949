"""The package below which plug-ins are imported: `ebbench.plugins.loaded.<folder>.model`.

The folder of a plug-in is written in the name of its package, so that every process that has ebbench can
import it by that name alone. Pickle in a spawned process, a fork server or a worker on another machine
therefore finds the functions and classes of a plug-in. Two folders are never one package.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType


def package_of(folder: Path) -> str:
    """The name of the package that a plug-in's folder (an absolute path) is."""
    name = "".join(chr(b) if chr(b).isalnum() and b < 128 else f"_{b:02x}" for b in os.fsencode(folder))
    return f"{__name__}.{name}"


def folder_of(package: str) -> Path:
    """The folder that `package_of` made a name of."""
    name = package.removeprefix(f"{__name__}.").encode()
    plain = re.sub(rb"_([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), name)
    return Path(os.fsdecode(plain))


class _Fresh(importlib.machinery.SourceFileLoader):
    """Compiles the source each time: bytecode that lies beside it may be of an edit in the same second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class Finder:
    """Python's way from the name of a plug-in's package, and of the modules in it, to its folder."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The package of a plug-in's folder, or a module in it."""
        if not name.startswith(f"{__name__}."):
            return None
        if name.rpartition(".")[0] == __name__:
            spec = cls._package(name, folder_of(name))
        else:
            spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and type(spec.loader) is importlib.machinery.SourceFileLoader:
            spec.loader = _Fresh(spec.loader.name, spec.loader.path)
        return spec

    @staticmethod
    def _package(name: str, folder: Path) -> importlib.machinery.ModuleSpec | None:
        if not folder.is_absolute() or not folder.is_dir():
            return None
        start = folder / "__init__.py"
        if start.is_file():
            return importlib.util.spec_from_file_location(
                name, start, submodule_search_locations=[str(folder)]
            )
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec


if Finder not in sys.meta_path:
    # First, since Python's own finder would take the modules from their bytecode. It is never made one of:
    # the protocol asks for no instance.
    sys.meta_path.insert(0, Finder)
