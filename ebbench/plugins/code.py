"""Find the code that a plug-in runs, and its hash.

The code is found by reading the sources; nothing runs. The hash covers the plug-in's main module and every
module that it imports, directly or through others. Modules are looked for

- in the plug-in's own folder,
- beside the importing file,
- in folders that the plug-in puts on `sys.path`,
- anywhere on Python's path, except in the standard library and in installed packages (a package in editable
  mode is covered),
- in `ebbench.nn`, `ebbench.metrics` and `ebbench.data`.

The hash also covers the files that the card declares. It does not cover the engine, which has its own
version, or anything else in the folder, such as results, logs, and weights that a training wrote.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.machinery
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ebbench.plugins.canonical import canonical_hash, parsed
from ebbench.plugins.imports import Import, imports, named_files, search_folders, starred

_ENGINE = Path(__file__).parents[1]
_BLOCKS = ("nn", "metrics", "data")
_BUILT_IN = ("baselines", "tasks")
# Each data file is pinned by its SHA-256. So the code that finds, fetches and unpacks it moves no score.
_FOUND_BY = ("store", "registry", "gzipped", "checking", "downloading", "importing", "cache")
_UNMOVING = {f"ebbench.data.{name}" for name in _FOUND_BY}
_SUFFIXES = (*importlib.machinery.EXTENSION_SUFFIXES, ".py", ".pyc")


@dataclass(frozen=True)
class Source:
    """The code of a plug-in: the SHA-256 of all of it, and of each file by name.

    The name of a file in the plug-in's folder is its path there. The name of a module outside is its dotted
    name. So the names are the same on every machine.
    """

    hash: str
    files: Mapping[str, str]

    def only(self, keep: Callable[[str], bool]) -> Source:
        """The source made of the files for whose names `keep` is true."""
        return _source({name: digest for name, digest in self.files.items() if keep(name)})


def is_data(name: str) -> bool:
    """Whether a name in `Source.files` is a module of `ebbench.data`."""
    return name == "ebbench.data" or name.startswith("ebbench.data.")


def source_of(main: Path, declared: Iterable[Path] = ()) -> Source:
    """The source with the main module `main`, and the files `declared` in the plug-in's folder.

    `main` is an absolute path. Raises OSError if a file cannot be read.
    """
    # Python caches listings of folders, and files written a moment ago must be found.
    importlib.invalidate_caches()
    closure = _Closure(main)
    # A folder that one module puts on the path may serve a module that was read before.
    while closure.grows():
        pass
    files = {name: _hash(path) for name, path in closure.files.items()}
    for path in declared:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(main.parent).as_posix()] = digest
    return _source(files)


def _source(files: Mapping[str, str]) -> Source:
    lines = [f"{name} {digest}\n" for name, digest in sorted(files.items())]
    return Source(hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest(), files)


def _hash(path: Path) -> str:
    content = path.read_bytes()
    return canonical_hash(content) if path.suffix == ".py" else hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class _Place:
    """A folder of modules: the package `name`, or without a name, a folder where Python looks for modules."""

    folder: Path
    name: str = ""

    @property
    def of_ebbench(self) -> bool:
        """Whether these are modules of this project."""
        return self.name.split(".")[0] == "ebbench"

    def find(self, dotted: str) -> list[Path]:
        """The files that `import dotted` runs here, those of its packages first; [] without such a module."""
        # The __init__ of ebbench itself belongs to the engine.
        own = self.name and self.name != "ebbench"
        files = list(_existing(self.folder, "__init__"))[:1] if own else []
        folder = self.folder
        for part in dotted.split(".") if dotted else []:
            package = next(_existing(folder / part, "__init__"), None)
            module = package or next(_existing(folder, part), None)
            if module is not None:
                files.append(module)
            elif not (folder / part).is_dir():
                return []
            if package is None and module is not None:
                break
            folder = folder / part
        return files

    def dotted(self, path: Path) -> str:
        """The dotted name of the module in a file below this place."""
        stem = path.name.split(".")[0]
        parts = [*path.relative_to(self.folder).parts[:-1], "" if stem == "__init__" else stem]
        return ".".join(filter(None, [self.name, *parts]))


class _Closure:
    """The files that a main module needs, by name."""

    def __init__(self, main: Path) -> None:
        self.files: dict[str, Path] = {}
        self._folder = main.parent
        self._search: list[_Place] = []
        self._of: dict[Path, _Place] = {}
        here = _Place(self._folder)
        # The plug-in's folder is a package, so an __init__.py there runs first.
        for path in [*_existing(self._folder, "__init__"), main]:
            self._add(path, here)

    def grows(self) -> bool:
        """Follow the imports of every file. Return whether that found new folders to search."""
        before = len(self._search)
        done: set[Path] = set()
        while waiting := [path for path in self._of if path not in done]:
            for path in waiting:
                done.add(path)
                if path.suffix == ".py":
                    self._read(path, self._of[path])
        return len(self._search) > before

    def _read(self, path: Path, of: _Place) -> None:
        source = path.read_bytes()
        wanted, named = _contents(source)
        if not of.of_ebbench:
            for folder in _search_folders(source, path):
                if _Place(folder) not in self._search and folder.is_dir():
                    self._search.append(_Place(folder))
            for name in named:
                self._run_by_path(name, path, of)
        for one in wanted:
            self._follow(one, path, of)

    def _add(self, path: Path, of: _Place) -> None:
        if path in self._of:
            return
        self._of[path] = of
        if path.is_relative_to(self._folder):
            name = path.relative_to(self._folder).as_posix()
        elif path.resolve().is_relative_to(self._folder):
            # The file was found by another path to the same folder.
            name = path.resolve().relative_to(self._folder).as_posix()
        else:
            name = of.dotted(path)
            # Two folders may have modules with the same name.
            while name in self.files:
                name += "'"
        self.files.setdefault(name, path)

    def _follow(self, wanted: Import, path: Path, of: _Place) -> None:
        if wanted.level:
            folder = path.parents[min(wanted.level, len(path.parents)) - 1]
            if folder.is_relative_to(of.folder):
                inside = ".".join(folder.relative_to(of.folder).parts)
                self._take(of, ".".join(filter(None, [inside, wanted.module])), wanted)
            return
        for place, dotted in self._places(wanted.module, path, of):
            if self._take(place, dotted, wanted):
                return

    def _places(self, module: str, path: Path, of: _Place) -> Iterator[tuple[_Place, str]]:
        """The places where a module may lie, in order of search, and its name there."""
        top, _, rest = module.partition(".")
        if top == "ebbench":
            part, _, inside = rest.partition(".")
            if part in _BLOCKS:
                yield _Place(_ENGINE, "ebbench"), rest
            elif part in _BUILT_IN:
                for folder in importlib.import_module(f"ebbench.{part}").__path__:
                    yield _Place(Path(folder), f"ebbench.{part}"), inside
            return
        if of.of_ebbench:
            return
        for place in (_Place(path.parent), _Place(self._folder), *self._search):
            yield place, module
        for place in _outside(top):
            yield place, rest if place.name else module

    def _take(self, place: _Place, dotted: str, wanted: Import) -> bool:
        """Add the files of one import if `place` has them. Return whether it does."""
        files = place.find(dotted)
        for name in wanted.names:
            for submodule in _starred(files) if name == "*" else [name]:
                files += place.find(f"{dotted}.{submodule}" if dotted else submodule)
        for file in files:
            if place.name != "ebbench" or place.dotted(file) not in _UNMOVING:
                self._add(file, place)
        return bool(files)

    def _run_by_path(self, name: str, path: Path, of: _Place) -> None:
        for folder in (path.parent, self._folder):
            file = folder / name
            try:
                if file.is_file():
                    # The path may be absolute.
                    below = next((p for p in (of, _Place(folder)) if file.is_relative_to(p.folder)), None)
                    self._add(file, below or _Place(file.parent))
                    return
            except OSError:  # the text is too long for a path
                return


def _starred(files: list[Path]) -> list[str]:
    """The names that `from package import *` may import, for the package with these files."""
    package = files[-1] if files and files[-1].name == "__init__.py" else None
    tree = parsed(package.read_bytes()) if package else None
    return starred(tree) if tree else []


# Many plug-ins share files, so each content is read once.
@functools.lru_cache(maxsize=512)
def _contents(source: bytes) -> tuple[list[Import], list[str]]:
    tree = parsed(source)
    return (imports(tree), named_files(tree)) if tree else ([], [])


@functools.lru_cache(maxsize=512)
def _search_folders(source: bytes, path: Path) -> list[Path]:
    tree = parsed(source)
    return search_folders(tree, path) if tree else []


def _existing(folder: Path, stem: str) -> Iterator[Path]:
    for suffix in _SUFFIXES:
        file = folder / f"{stem}{suffix}"
        if file.is_file():
            yield file


@functools.lru_cache(maxsize=1)
def _standard_library() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple(Path(paths[name]).resolve() for name in ("stdlib", "platstdlib"))


def _outside(top: str) -> list[_Place]:
    """Where Python finds the top-level module or package `top`; [] if it is installed or Python's own."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(top, None) if find is not None else None
        if spec is None:
            continue
        if spec.submodule_search_locations is not None:
            places = [_Place(Path(folder).absolute(), top) for folder in spec.submodule_search_locations]
        elif spec.has_location and spec.origin:
            places = [_Place(Path(spec.origin).absolute().parent)]
        else:  # built in or frozen
            places = []
        return [place for place in places if not _is_installed(place)]
    return []


def _is_installed(place: _Place) -> bool:
    # `pip install --target` makes a folder of packages with any name.
    target = place.folder.parent if place.name else place.folder
    return installed(place.folder) or any(target.glob("*.dist-info"))


def installed(folder: Path) -> bool:
    """Whether the modules in a folder belong to Python itself or to an installed package."""
    if {"site-packages", "dist-packages"} & set(folder.parts):
        return True
    return any(folder.resolve().is_relative_to(library) for library in _standard_library())
