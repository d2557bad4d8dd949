"""A name or a folder -> a plug-in. The only place that imports plug-ins.

A plug-in is a folder with `card.toml` and `model.py` or `task.py`. A name is looked for in the folders
of EBBENCH_PATH, in the entry points `ebbench.models` and `ebbench.tasks`, and among the built-ins, which
are loaded in exactly the same way. A path is taken as it is. Two places for one name are an error.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sys
import tomllib
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ebbench.errors import PluginError, UsageError, shown, unknown
from ebbench.plugins.cards import ModelCard, TaskCard
from ebbench.plugins.code import blocks
from ebbench.plugins.crash import fault

Kind = Literal["model", "task"]


MODULES: dict[Kind, str] = {"model": "model.py", "task": "task.py"}


_BUILT_IN: dict[Kind, str] = {"model": "ebbench.baselines", "task": "ebbench.tasks"}


_ENTRY_POINTS: dict[Kind, str] = {"model": "ebbench.models", "task": "ebbench.tasks"}


@dataclass(frozen=True, eq=False)
class Plugin:
    """A plug-in's folder; its card and its class are read on first access."""

    kind: Kind
    folder: Path

    @functools.cached_property
    def card(self) -> Any:
        """The ModelCard or TaskCard. Raises PluginError if `card.toml` is missing or wrong."""
        path = self.folder / "card.toml"
        schema = ModelCard if self.kind == "model" else TaskCard
        try:
            return schema.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise PluginError(
                f"the card of {self.kind} '{self.folder.name}' cannot be read: {error}",
                where=shown(path),
                expected="a TOML file with at least name and title",
                fix="see docs/architecture.md, 'A plug-in'",
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise PluginError(
                f"the card of {self.kind} '{self.folder.name}' is wrong at '{field}': {first['msg']}",
                where=shown(path),
                expected="the fields " + ", ".join(schema.model_fields),
                fix=f"mend '{field}' in card.toml",
            ) from error

    @property
    def name(self) -> str:
        """The name that the card gives."""
        return str(self.card.name)

    @functools.cached_property
    def cls(self) -> type[Any]:
        """The plug-in's class; its code runs here. Raises PluginError if it cannot be imported."""
        from ebbench import contract

        base = contract.Model if self.kind == "model" else contract.Task
        module = self._import()
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        if len(found) != 1:
            raise PluginError(
                f"{MODULES[self.kind]} defines {len(found)} subclasses of ebbench.{base.__name__}",
                where=shown(self.folder / MODULES[self.kind]),
                expected="exactly one",
                fix="keep one, and move what several share into a plain function or a base of its own file",
            )
        return found[0]

    @functools.cached_property
    def code_hash(self) -> str:
        """SHA-256 over what the code depends on: the folder's files, and the blocks of `ebbench.nn` it uses.

        The card is left out because the values that it sets are part of a run's identity by themselves;
        Markdown is left out because it is for people.
        """
        files = {}
        for path in sorted(self.folder.rglob("*")):
            inside = path.relative_to(self.folder)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
            if path.is_file() and not hidden and path.name != "card.toml" and path.suffix != ".md":
                files[inside.as_posix()] = path
        files |= blocks(path for path in files.values() if path.suffix == ".py")
        digest = hashlib.sha256()
        for name, path in sorted(files.items()):
            digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()

    def _import(self) -> types.ModuleType:
        # The folder becomes a package of its own, so that relative imports work, and stands in
        # sys.modules before its code runs, which dataclasses and pickle rely on. The path in the
        # name keeps two folders of one name apart.
        path = self.folder / MODULES[self.kind]
        tag = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]
        package_name = f"ebbench_plugins.{re.sub(r'[^0-9a-zA-Z]', '_', self.folder.name)}_{tag}"
        module_name = f"{package_name}.{path.stem}"
        if module_name in sys.modules:
            return sys.modules[module_name]
        root = sys.modules.setdefault("ebbench_plugins", types.ModuleType("ebbench_plugins"))
        root.__path__ = []
        package = types.ModuleType(package_name)
        package.__path__ = [str(self.folder)]
        sys.modules[package_name] = package
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        # SystemExit too: a plug-in that calls sys.exit must not end the command without a word.
        except (Exception, SystemExit) as error:
            for name in [n for n in sys.modules if n == package_name or n.startswith(package_name + ".")]:
                del sys.modules[name]
            raise PluginError(
                f"{self.kind} '{self.folder.name}' does not import: {type(error).__name__}: {error}",
                where=fault(error, self.folder),
                expected="a module that imports without an error",
                fix="mend the line named above",
            ) from error
        return module


def names(kind: Kind) -> list[str]:
    """The names that `load` knows for this kind, sorted; a folder counts by its own name."""
    return sorted({name for name, _ in _known(kind)})


def load(kind: Kind, name_or_path: str) -> Plugin:
    """The plug-in of that name, or in that folder. Nothing of its code runs yet.

    Raises UsageError for an unknown or ambiguous name, PluginError for a folder that is no plug-in.
    """
    path = Path(name_or_path).expanduser()
    looks_like_path = len(path.parts) > 1 or name_or_path.startswith((".", "~")) or path.is_absolute()
    if looks_like_path:
        if not (path / MODULES[kind]).is_file():
            raise PluginError(
                f"'{name_or_path}' is no {kind} folder",
                where=shown(path),
                expected=f"a folder that holds {MODULES[kind]} and card.toml",
                fix=f"name one of the known {kind}s ({', '.join(names(kind))}) or the right folder",
            )
        return Plugin(kind, path.resolve())
    places = {folder.resolve() for name, folder in _known(kind) if name == name_or_path}
    if (path / MODULES[kind]).is_file():
        places.add(path.resolve())
    if not places:
        raise unknown(
            kind,
            name_or_path,
            names(kind),
            fix=f"`ebbench list` shows what there is; a folder "
            f"of your own is given by its path, such as ./{name_or_path}",
        )
    if len(places) > 1:
        raise UsageError(
            f"{kind} '{name_or_path}' is in {len(places)} places",
            where=", ".join(sorted(shown(place) for place in places)),
            expected="one place for a name",
            fix="give the folder's path, or take one out of EBBENCH_PATH",
        )
    return Plugin(kind, places.pop())


def _known(kind: Kind) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    package = importlib.import_module(_BUILT_IN[kind])
    folders = [Path(place) for place in package.__path__]
    folders += [
        Path(place).expanduser() for place in os.environ.get("EBBENCH_PATH", "").split(os.pathsep) if place
    ]
    for folder in folders:
        if folder.is_dir():
            found += [(p.parent.name, p.parent) for p in sorted(folder.glob(f"*/{MODULES[kind]}"))]
    for entry in importlib.metadata.entry_points(group=_ENTRY_POINTS[kind]):
        try:
            spec = importlib.util.find_spec(entry.value)
        except (ImportError, ValueError):
            spec = None
        for place in (spec.submodule_search_locations or []) if spec else []:
            found.append((entry.name, Path(place)))
    return found
