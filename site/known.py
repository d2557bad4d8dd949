"""What is known of a plug-in: its card, its README and what its code declares, as far as each can be read.

One plug-in whose code no longer imports must not break the board: its page shows what can be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ebbench.contract import Limit, Metric, Published
from ebbench.errors import EbbenchError
from ebbench.plugins import cards, introspection, loader
from ebbench.record.resultfiles import Problem
from ebbench.record.scrub import scrub
from ebbench.record.text import visible


@dataclass(frozen=True)
class Known:
    """A plug-in as the site shows it. `here` says whether it is installed, `fault` why not all is known.

    `needs` (a capability), `metrics`, `published`, `limits`, `protocols` and `version` are a task's;
    `capabilities`, `samplers` and `scores` a model's.
    """

    here: bool = False
    fault: str = ""
    folder: Path | None = None
    # A TaskCard or a ModelCard.
    card: Any = None
    readme: str = ""
    sources: Sequence[Path] = ()
    needs: str = ""
    metrics: Sequence[Metric] = ()
    published: Sequence[Published] = ()
    limits: Sequence[Limit] = ()
    protocols: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    capabilities: Sequence[str] = ()
    samplers: Sequence[str] = ()
    scores: Sequence[str] = ()
    # What was submitted and is not here: its texts are a stranger's.
    submitted: bool = False


def of_submission(folder: Path) -> Known:
    """What a board keeps of a submitted model (submissions/kept.py); little where the folder is not there."""
    texts = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    sources = [path for path in texts if path.is_file() and not path.is_symlink()]
    found = {path.name: path for path in sources}
    readme = _text(found["README.md.txt"]) if "README.md.txt" in found else ""
    try:
        content = found["card.toml.txt"].read_bytes() if "card.toml.txt" in found else b""
        card = cards.read_card("model", content, of=folder.name, where=folder.name) if content else None
    except (EbbenchError, OSError):
        card = None
    shown = [path for path in sources if path.name != "README.md.txt"]
    title = re.compile(r"\A#[^\n]*\n")
    return Known(card=card, readme=title.sub("", readme), sources=shown, submitted=bool(sources))


def _text(path: Path) -> str:
    return visible(path.read_text(encoding="utf-8", errors="replace"))


class Plugins:
    """The plug-ins that are here, each loaded once, into `loaded`. `problems` are those that do not load."""

    def __init__(self) -> None:
        self.loaded: dict[tuple[loader.Kind, str], loader.Plugin] = {}
        self.names: dict[loader.Kind, list[str]] = {kind: loader.names(kind) for kind in loader.MODULES}
        self._known: dict[tuple[loader.Kind, str], Known] = {}

    def load(self) -> None:
        """Load all of them. With torch this takes seconds, in which other processes can work."""
        for kind, names in self.names.items():
            for name in names:
                self.known(kind, name)

    def known(self, kind: loader.Kind, name: str) -> Known:
        """What is known of a plug-in of that name; of one that is not here nothing."""
        if name not in self.names[kind]:
            return Known()
        if (kind, name) not in self._known:
            self._known[kind, name] = self._look_at(kind, name)
        return self._known[kind, name]

    def _look_at(self, kind: loader.Kind, name: str) -> Known:
        found = Known(here=True)
        try:
            plugin = self.loaded[kind, name] = loader.load(kind, name)
            found = _of_folder(plugin)
            found = replace(found, card=plugin.card)
            return _of_code(plugin, found)
        except EbbenchError as error:
            where = f" ({error.where})" if error.where else ""
            return replace(found, fault=scrub(f"{error.what}{where}"))

    @property
    def problems(self) -> list[Problem]:
        """The plug-ins that were looked at and do not load, and why."""
        return [
            Problem(known.folder or Path(name), known.fault)
            for (_, name), known in sorted(self._known.items())
            if known.fault
        ]


def _of_folder(plugin: loader.Plugin) -> Known:
    sources = [plugin.folder / file for file in (loader.MODULES[plugin.kind], "card.toml")]
    readme = plugin.folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    return Known(
        here=True,
        folder=plugin.folder,
        sources=[path for path in sources if path.is_file()],
        # The page has a title of its own.
        readme=re.sub(r"\A#[^\n]*\n", "", text),
    )


def _of_code(plugin: loader.Plugin, found: Known) -> Known:
    """Return `found` with what the code declares. If a declaration is invalid, `fault` says so."""
    cls = plugin.cls
    try:
        if plugin.kind == "model":
            return replace(
                found,
                capabilities=introspection.capabilities(cls),
                samplers=list(introspection.samplers(cls)),
                scores=list(introspection.scores(cls)),
            )
        declared = replace(
            found,
            needs=str(getattr(cls, "needs", "")),
            metrics=tuple(cls.metrics),
            published=tuple(cls.published),
            limits=tuple(cls.limits),
            protocols=dict(cls.protocols),
            version=int(cls.version),
        )
        _check(declared)
        return declared
    # Anyone may have written the class, so its declarations may fail in any way.
    except Exception as error:
        name = plugin.folder.name
        fault = f"{plugin.kind} '{name}' does not declare what it must: {type(error).__name__}: {error}"
        return replace(found, fault=scrub(fault))


def _check(declared: Known) -> None:
    for what, values, kind in (
        ("metrics", declared.metrics, Metric),
        ("published", declared.published, Published),
        ("limits", declared.limits, Limit),
        ("protocols", declared.protocols, str),
    ):
        for value in values:
            if not isinstance(value, kind):
                raise TypeError(f"{what} holds {value!r}, which is no {kind.__name__}")
