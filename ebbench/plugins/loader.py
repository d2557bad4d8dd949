"""Find a plug-in by its name or its folder.

A plug-in is a folder with `card.toml` and `model.py` or `task.py`. Results and tables use the name in its
card.

- A *path* contains a separator, or begins with "." or "~". It means that folder, whatever its name.
- A *name* is the name in a card. It is looked up among the built-ins (which are loaded in exactly the same
  way), in the folders of EBBENCH_PATH, in the packages of the entry points `ebbench.models` and
  `ebbench.tasks`, and in the folder of that name where the command runs. If a card cannot be read, its
  folder's name counts, so that the mistake is shown. A name in two places is an error.

Other folders may not have the name of a built-in: their results would look like those of the built-in.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ebbench.errors import EbbenchError, PluginError, UsageError, shown, unknown
from ebbench.plugins.plugin import MODULES as MODULES
from ebbench.plugins.plugin import Kind as Kind
from ebbench.plugins.plugin import Plugin as Plugin

_BUILT_IN: dict[Kind, str] = {"model": "ebbench.baselines", "task": "ebbench.tasks"}
# The plug-ins that `lent` has registered, by kind and name.
_LENT: dict[tuple[Kind, str], Plugin] = {}
_ENTRY_POINTS: dict[Kind, str] = {"model": "ebbench.models", "task": "ebbench.tasks"}


def names(kind: Kind) -> list[str]:
    """The names that `load` knows for this kind, sorted. Raises UsageError for an invalid EBBENCH_PATH."""
    lent_ones = (name for of, name in _LENT if of == kind)
    return sorted({*built_in(kind), *(_name(plugin) for plugin in _others(kind)), *lent_ones})


@contextmanager
def lent(plugin: Plugin) -> Iterator[None]:
    """Within this context, `load` returns this plug-in for its name, even if others have that name.

    Raises PluginError for the name of a built-in.
    """
    key = (plugin.kind, _outside(plugin).name)
    before = _LENT.get(key)
    _LENT[key] = plugin
    try:
        yield
    finally:
        del _LENT[key]
        if before is not None:
            _LENT[key] = before


def load(kind: Kind, name_or_path: str) -> Plugin:
    """The plug-in with that name, or in that folder. None of its code runs yet.

    Raises UsageError for an unknown or ambiguous name. Raises PluginError if the folder is not a plug-in, if
    its card is invalid, or if it has the name of a built-in.
    """
    path = _path(name_or_path)
    if len(path.parts) > 1 or name_or_path.startswith((".", "~")) or path.is_absolute():
        if not _holds(path, kind):
            raise PluginError(
                f"'{name_or_path[:200]}' is not a {kind} folder",
                where=shown(path)[:300],
                expected=f"a folder that holds {MODULES[kind]} and card.toml",
                fix=f"name one of the known {kind}s ({', '.join(names(kind))}) or the right folder",
            )
        return _outside(Plugin(kind, path.resolve()))
    if (kind, name_or_path) in _LENT:
        return _LENT[kind, name_or_path]
    found = {plugin.folder: plugin for plugin in _others(kind) if _name(plugin) == name_or_path}
    if name_or_path in built_in(kind):
        folder = built_in(kind)[name_or_path]
        found[folder] = Plugin(kind, folder)
    here = [Plugin(kind, path.resolve())] if _holds(path, kind) else []
    found |= {plugin.folder: plugin for plugin in here if _name(plugin) == name_or_path}
    if not found:
        raise unknown(kind, name_or_path[:200], names(kind), fix=_hint(kind, name_or_path[:200], here))
    if len(found) > 1:
        raise UsageError(
            f"{kind} '{name_or_path}' is in {len(found)} places",
            where=", ".join(sorted(shown(folder) for folder in found)),
            expected="one place for each name",
            fix="give the folder's path, choose another name in its card, or remove one from EBBENCH_PATH",
        )
    return _outside(next(iter(found.values())))


def is_here(kind: Kind, name_or_path: str) -> bool:
    """Whether there is a plug-in with that name, or in that folder. `load` may still refuse it."""
    return name_or_path in names(kind) or _holds(_path(name_or_path), kind)


def built_in(kind: Kind) -> dict[str, Path]:
    """The folder of each built-in by its name. The folder has the same name."""
    package = importlib.import_module(_BUILT_IN[kind])
    return dict(_listed(kind, tuple((place, _changed(place)) for place in package.__path__)))


def _changed(place: str) -> int:
    """When an entry was last added to or removed from a folder; 0 if there is no such folder."""
    try:
        return os.stat(place).st_mtime_ns
    except OSError:
        return 0


@functools.cache
def _listed(kind: Kind, places: tuple[tuple[str, int], ...]) -> dict[str, Path]:
    """The plug-ins in the folders, cached until a folder changes. A board asks once for each result."""
    folders = [folder for place, _ in places for folder in _folders(Path(place), kind)]
    return {folder.name: folder.resolve() for folder in folders}


def is_own_control(plugin: Plugin) -> bool:
    """Whether a plug-in is one of the project's own controls. Those may know a task's answer."""
    return plugin.card.kind == "control" and plugin.folder in built_in(plugin.kind).values()


def _outside(plugin: Plugin) -> Plugin:
    """Return the plug-in. Raises PluginError if it has the name of a built-in and is not that one."""
    own = built_in(plugin.kind).get(plugin.name)
    if own is not None and own != plugin.folder:
        raise PluginError(
            f"ebbench already has a {plugin.kind} '{plugin.name}'",
            where=shown(plugin.folder / "card.toml"),
            expected="a new name: results are stored under it",
            fix=f'choose another, such as name = "my-{plugin.name}"',
        )
    return plugin


def _name(plugin: Plugin) -> str:
    try:
        return plugin.name
    except EbbenchError:
        return plugin.folder.name


def _hint(kind: Kind, name: str, here: list[Plugin]) -> str:
    for plugin in [*here, *_others(kind)]:
        if plugin.folder.name == name:
            return f"the card in {shown(plugin.folder)} says '{plugin.name}': give that, or the folder's path"
    return f"`ebbench list` shows the known ones; give a folder of your own by its path, such as ./{name}"


def _others(kind: Kind) -> Iterator[Plugin]:
    """The plug-ins of EBBENCH_PATH and of entry points, other than the built-ins."""
    seen = set(built_in(kind).values())
    for folder in [*_of_the_variable(kind), *_of_entry_points(kind)]:
        if folder.resolve() not in seen:
            seen.add(folder.resolve())
            yield Plugin(kind, folder.resolve())


def _of_the_variable(kind: Kind) -> Iterator[Path]:
    for place in os.environ.get("EBBENCH_PATH", "").split(os.pathsep):
        if place:
            yield from _folders(_path(place, where="EBBENCH_PATH"), kind)


def _of_entry_points(kind: Kind) -> Iterator[Path]:
    for module in _entries(_ENTRY_POINTS[kind], tuple((place, _changed(place)) for place in sys.path)):
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            continue
        for place in (spec.submodule_search_locations or []) if spec else []:
            if _holds(Path(place), kind):
                yield Path(place)


@functools.lru_cache(maxsize=8)
def _entries(group: str, places: tuple[tuple[str, int], ...]) -> list[str]:
    """The modules that installed packages name for a group of entry points, cached until a folder changes.

    Reading them takes 20 ms, and a build of the site asks a hundred times.
    """
    return [entry.value for entry in importlib.metadata.entry_points(group=group)]


def _folders(place: Path, kind: Kind) -> list[Path]:
    """The folders of plug-ins in `place`; empty if it is not a folder."""
    try:
        return [module.parent for module in sorted(place.glob(f"*/{MODULES[kind]}"))]
    except OSError as error:
        raise UsageError(
            f"a folder of plug-ins cannot be read: {error.strerror or error}", where=str(place)
        ) from error


def _holds(folder: Path, kind: Kind) -> bool:
    """Whether a folder holds the module of a plug-in. Raises PluginError if it may not be read."""
    try:
        return (folder / MODULES[kind]).is_file()
    except PermissionError as error:
        raise PluginError(
            f"the folder cannot be read: {error.strerror or error}",
            where=shown(folder),
            expected="a folder that you may read",
        ) from error
    except (OSError, ValueError):
        # The name is too long or has impossible characters, so nothing can be there.
        return False


def _path(text: str, where: str = "") -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"'{text[:200]}' begins with the home of an unknown user",
            where=where,
            expected="a folder, or ~/ for your own home",
        ) from error
