"""A plug-in: its card, its class, and the hash of its code, each read on first access.

Only this module imports plug-ins.
"""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ebbench.errors import PluginError, Stopped, shown
from ebbench.plugins import cards, code, configs, introspection
from ebbench.plugins.crash import fault, said
from ebbench.plugins.importing import main_module, plain_path

Kind = Literal["model", "task"]

MODULES: dict[Kind, str] = {"model": "model.py", "task": "task.py"}
# A task's table of published numbers. They are shown beside the rows and cannot change a score.
PUBLISHED = "published.py"


@dataclass(frozen=True, eq=False)
class Plugin:
    """A plug-in in `folder`, an absolute path. Its card and its class are read on first access."""

    kind: Kind
    folder: Path

    @functools.cached_property
    def card(self) -> Any:
        """The ModelCard or TaskCard. Raises PluginError if `card.toml` is missing or wrong."""
        path = self.folder / "card.toml"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PluginError(
                f"the card of {self.kind} '{self.folder.name}' cannot be read: {error.strerror or error}",
                where=shown(path),
                expected="a TOML file with at least name and title",
                fix="see docs/files.md",
            ) from error
        return cards.read_card(self.kind, content, of=self.folder.name, where=shown(path))

    @property
    def name(self) -> str:
        """The name that the card gives."""
        return str(self.card.name)

    @functools.cached_property
    def cls(self) -> type[Any]:
        """The plug-in's class. The first access imports it, which runs its code.

        Raises PluginError if it cannot be imported, and ContractError if its Config or Options, or a
        sampler's knobs, break the contract.
        """
        from ebbench import contract

        base = contract.Model if self.kind == "model" else contract.Task
        module = self._module()
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        where = f"{self.folder.name}/{MODULES[self.kind]}"
        if len(found) != 1:
            raise PluginError(
                f"{MODULES[self.kind]} defines {len(found)} subclasses of ebbench.{base.__name__}",
                where=where,
                expected="exactly one",
                fix="keep one; move shared code into a plain function, or into a base class in another file",
            )
        (cls,) = found
        settings = "Config" if self.kind == "model" else "Options"
        configs.check_config(getattr(cls, settings), f"{where}, {cls.__name__}.{settings}")
        if issubclass(cls, contract.Model):
            for method in introspection.samplers(cls).values():
                configs.check_sampler(method, f"{where}, {cls.__name__}.{method.__name__}()")
        return cls

    @functools.cached_property
    def source(self) -> code.Source:
        """All code that the plug-in runs, and the files that its card declares. No code runs for this.

        For a task, `data_source` has the code of the data instead, and `published.py` is left out. Raises
        PluginError if a file is missing.
        """
        if self.kind == "model":
            return self._code
        return self._code.only(lambda name: name != PUBLISHED and not code.is_data(name))

    @functools.cached_property
    def data_source(self) -> code.Source:
        """The modules of `ebbench.data` that a task uses; empty for a model."""
        return self._code.only(lambda name: self.kind == "task" and code.is_data(name))

    @functools.cached_property
    def code_hash(self) -> str:
        """SHA-256 of `source`. It leaves out the card, whose values are part of a run's identity anyway."""
        return self.source.hash

    @functools.cached_property
    def data_code_hash(self) -> str:
        """SHA-256 of a task's `data_source`; "" if that is empty."""
        return self.data_source.hash if self.data_source.files else ""

    @functools.cached_property
    def _code(self) -> code.Source:
        try:
            with plain_path():
                return code.source_of(self.folder / MODULES[self.kind], self._declared())
        except OSError as error:
            raise PluginError(
                f"the code of {self.kind} '{self.folder.name}' cannot be read: {error.strerror or error}",
                where=shown(Path(error.filename or self.folder)),
            ) from error

    def _declared(self) -> list[Path]:
        """The files that the card declares."""
        found: set[Path] = set()
        for pattern in self.card.files:
            inside = not Path(pattern).is_absolute() and ".." not in Path(pattern).parts
            try:
                files = [path for path in self.folder.glob(pattern) if path.is_file()] if inside else []
            except (ValueError, NotImplementedError):
                files = []
            if not files:
                raise PluginError(
                    f"the card of {self.kind} '{self.folder.name}' declares the file '{pattern}', "
                    + ("which is not there" if inside else "which is outside its folder"),
                    where=f"{shown(self.folder / 'card.toml')}: files",
                    expected='paths of files in the folder, or patterns such as "weights/*"',
                    fix="put the file there, or correct the card",
                )
            found.update(files)
        return sorted(found)

    def _module(self) -> types.ModuleType:
        try:
            now, files = self._code.hash, self._code.files
        except PluginError:  # a file that the card declares is missing; a run reports it
            now, files = "", {}
        try:
            return main_module(self.folder, Path(MODULES[self.kind]).stem, now, files)
        except (KeyboardInterrupt, Stopped):
            raise
        # BaseException includes SystemExit: a plug-in must not end the command without a message.
        except BaseException as error:
            raise PluginError(
                f"{self.kind} '{self.folder.name}' does not import: {said(error)}",
                where=fault(error, self.folder),
                expected="a module that imports without an error",
                fix="correct the line named above",
            ) from error
