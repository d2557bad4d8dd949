"""Reference pages that are made of the code itself: the Python API, the commands, and the metrics.

A public name is one that `ebbench` exports, or a class or function of a module of `ebbench.nn` or
`ebbench.metrics` that has no underscore and was written there.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ebbench

PACKAGES = ("ebbench.nn", "ebbench.metrics")


@dataclass(frozen=True)
class Entry:
    """One thing of a reference: its full name, how it is called, its words (Markdown), and what it holds."""

    name: str
    signature: str
    doc: str
    members: Sequence[Entry] = ()


@dataclass(frozen=True)
class Section:
    """Entries under a heading, with a sentence or two about all of them."""

    title: str
    doc: str
    entries: Sequence[Entry]


def place(*names: str) -> str:
    """The id of a section or of an entry on its page."""
    return "-".join(".".join(names).split())


def api() -> list[Section]:
    """The Python API: the package's own names first, then module by module."""
    own = [_entry(name, getattr(ebbench, name)) for name in ebbench.__all__]
    made = [Section("ebbench", "`from ebbench import ...`", own)]
    for module in _modules():
        entries = [
            _entry(name, thing)
            for name, thing in vars(module).items()
            if not name.startswith("_") and _defined(thing, module.__name__)
        ]
        if entries:
            made.append(Section(module.__name__, _doc(module), entries))
    return made


@functools.cache
def _functions() -> dict[str, str]:
    """The address of each function of the modules, by its module's last name: "coverage.kl_to_uniform"."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": f"docs/api.html#{place(module.__name__, name)}"
        for module in _modules()
        for name, thing in vars(module).items()
        if _defined(thing, module.__name__)
    }


def address_of(call: str) -> str:
    """The address of a function's entry in the Python API, by the name it is called by; "" without one."""
    return _functions().get(call, "")


def _modules() -> Iterator[Any]:
    for package in PACKAGES:
        found = importlib.import_module(package)
        for info in pkgutil.walk_packages(found.__path__, f"{package}."):
            yield importlib.import_module(info.name)


def _defined(thing: Any, module: str) -> bool:
    # A function behind functools.cache is a function to its reader.
    thing = inspect.unwrap(thing) if callable(thing) else thing
    return (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == module


def _entry(name: str, thing: Any) -> Entry:
    members = list(_members(thing)) if inspect.isclass(thing) else []
    return Entry(name, _signature(name, thing), _doc(thing), members)


def _doc(thing: Any) -> str:
    text = (thing.__dict__.get("__doc__") if inspect.isclass(thing) else inspect.getdoc(thing)) or ""
    # A dataclass without words of its own has its signature for a docstring.
    return "" if inspect.isclass(thing) and text.startswith(f"{thing.__name__}(") else inspect.cleandoc(text)


class _Bare:
    """An annotation or a default as the source has it, without the quotes of a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _signature(name: str, thing: Any) -> str:
    keyword = "class " if inspect.isclass(thing) else ""
    # Users do not construct these classes: the engine makes the records, and errors write their own text.
    made = inspect.isclass(thing) and (issubclass(thing, Exception) or hasattr(thing, "model_fields"))
    if made or getattr(thing, "_is_protocol", False):
        return keyword + name
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return keyword + name
    parameters = [_shown(one) for one in found.parameters.values() if one.name not in ("self", "cls")]
    returned = found.empty if inspect.isclass(thing) else _bare(found.return_annotation)
    return keyword + name + str(found.replace(parameters=parameters, return_annotation=returned))


def _shown(one: inspect.Parameter) -> inspect.Parameter:
    plain = one.default is one.empty or isinstance(one.default, str | int | float | bool | tuple | type(None))
    return one.replace(annotation=_bare(one.annotation), default=one.default if plain else _Bare("..."))


def _bare(annotation: Any) -> Any:
    return _Bare(annotation.strip("'\"")) if isinstance(annotation, str) else annotation


def _members(cls: type) -> Iterator[Entry]:
    """The fields that have words below them, then the methods and properties with a docstring."""
    yield from _fields(cls)
    for name, raw in vars(cls).items():
        thing = raw.__func__ if isinstance(raw, classmethod | staticmethod) else raw
        thing = thing.func if isinstance(thing, functools.cached_property) else thing
        is_property = isinstance(thing, property) or isinstance(raw, functools.cached_property)
        function = thing.fget if isinstance(thing, property) else thing
        if not name.startswith("_") and inspect.isfunction(function) and function.__doc__:
            words = name if is_property else _signature(name, function)
            yield Entry(name, words, inspect.cleandoc(function.__doc__))


def _fields(cls: type) -> Iterator[Entry]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError):
        return
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for field, below in zip(body, body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield Entry(field.target.id, ast.unparse(field), inspect.cleandoc(str(below.value.value)))


def commands(root: Any) -> list[Section]:
    """Each command below `root` (click) with what it is given, as its --help says it."""
    return [
        Section(f"ebbench {' '.join(path)}", _plain(command.help), [_option(one) for one in command.params])
        for path, command in _leaves(root, ())
    ]


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, one in inner.items():
        if not one.hidden:
            yield from _leaves(one, (*path, name))


def _option(one: Any) -> Entry:
    name = one.name.upper() if one.param_type_name == "argument" else ", ".join(one.opts)
    more = "" if one.required or one.default in (None, "", False, (), []) else f"default {one.default}"
    return Entry(name, name + (f" ({more})" if more and not callable(one.default) else ""), _plain(one.help))


def _plain(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b", "")
