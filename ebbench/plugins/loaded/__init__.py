"""The package below which plug-ins are imported: `ebbench.plugins.loaded.<folder>.model`.

The name of a plug-in's package contains the path of its folder. So every process with ebbench can import it
by that name alone. Therefore pickle finds the functions and classes of a plug-in in a spawned process, in a
fork server, or in a worker on another machine. Two folders never have the same package.
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
    """The name of the package for a plug-in's folder (an absolute path)."""
    name = "".join(chr(b) if chr(b).isalnum() and b < 128 else f"_{b:02x}" for b in os.fsencode(folder))
    return f"{__name__}.{name}"


def folder_of(package: str) -> Path:
    """The folder from whose path `package_of` made the name."""
    name = package.removeprefix(f"{__name__}.").encode()
    plain = re.sub(rb"_([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), name)
    return Path(os.fsdecode(plain))


class _Fresh(importlib.machinery.SourceFileLoader):
    """Compiles the source each time. Cached bytecode may be outdated after an edit in the same second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class Finder:
    """Finds the folder of a plug-in's package, and the modules in it, by their names for Python's import."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of the package of a plug-in's folder, or of a module in it."""
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
    # Put it first, since Python's own finder would load the modules from their bytecode. The class itself is
    # the finder: the protocol needs no instance.
    sys.meta_path.insert(0, Finder)
