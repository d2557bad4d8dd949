"""Describe in JSON what a model's class offers, and make a class with the same offer but without the code.

The code of a stranger's model runs only in the model's process. There, `described` collects what the engine
must know of the class to settle a run. In the engine, `stand_in` makes a class from this description. Its
methods have the same names, knobs and types, and do nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any

from ebbench import contract
from ebbench.apart.wire import BadMessage
from ebbench.errors import EbbenchError
from ebbench.plugins import introspection
from ebbench.plugins.configs import plain_value

_SIMPLE: dict[str, Any] = {
    **{kind.__name__: kind for kind in (bool, int, float, str, list, tuple, dict)},
    **{"None": type(None), "Path": Path, "Any": Any},
}
# The maximum number of characters of a name, and of public names of a class that are described.
_MOST_OF_A_NAME, _MOST_NAMES = 200, 1000


def described(cls: type[contract.Model]) -> dict[str, Any]:
    """Describe what a model's class offers: settings, samplers with knobs, scores, what it builds on."""
    where = f"class {cls.__name__}"
    kinds, defaults = introspection.field_types(cls.Config, where), cls.Config()
    return {
        "name": cls.__name__,
        "config": [
            [field.name, _as_json(kinds[field.name]), plain_value(getattr(defaults, field.name)), field.init]
            for field in dataclasses.fields(cls.Config)
        ],
        "samplers": {
            name: [method.__name__, _knobs(method, where)]
            for name, method in introspection.samplers(cls).items()
        },
        "scores": {name: method.__name__ for name, method in introspection.answers(cls).items()},
        "keeps_state": bool(cls.keeps_state),
        "builds_on": str(cls.builds_on),
        "base_needs": [str(name) for name in cls.base_needs],
        "offers": [name for name in dir(cls) if not name.startswith("_")][:_MOST_NAMES],
    }


def stand_in(offer: Any) -> type[contract.Model]:
    """Make a class with the given offer. Raises BadMessage if the offer is invalid."""
    try:
        return _made(offer)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, EbbenchError) as error:
        raise BadMessage(f"what the model's class offers cannot be read: {error}") from error


def _made(offer: Mapping[str, Any]) -> type[contract.Model]:
    fields: list[tuple[str, Any, Any]] = []
    for name, kind, default, init in offer["config"]:
        # Dataclasses refuse a list as a default: all objects would share it. So use a factory.
        made = dataclasses.field(default_factory=_giving(default), init=bool(init))
        fields.append((_word(name), _from_json(kind), made))
    body: dict[str, Any] = {
        "Config": dataclasses.make_dataclass("Config", fields, frozen=True),
        "keeps_state": bool(offer["keeps_state"]),
        "builds_on": str(offer["builds_on"]),
        "base_needs": tuple(map(str, offer["base_needs"])),
    }
    for name in offer["offers"]:
        if not hasattr(contract.Model, _word(name)) and name not in body:
            body[name] = None
    for name, (method, knobs) in offer["samplers"].items():
        body[_word(method)] = contract.sampler(str(name))(_method(method, knobs))
    for name, method in offer["scores"].items():
        answer = _method(method, [])
        # `classify` gives classes instead of a score. It is found by the method's name, so it needs no mark.
        body[_word(method)] = answer if name == contract.CLASSIFY else contract.score(str(name))(answer)
    return type(_word(offer["name"]), (contract.Model,), body)


def _knobs(method: Callable[..., Any], where: str) -> list[Any]:
    defaults = introspection.knobs(method)
    kinds = introspection.knob_types(method, where)
    return [[name, _as_json(kind), plain_value(defaults[name])] for name, kind in kinds.items()]


def _giving(value: Any) -> Callable[[], Any]:
    return lambda: value


def _word(name: Any) -> str:
    fits = isinstance(name, str) and name.isidentifier() and len(name) <= _MOST_OF_A_NAME
    if not fits or name.startswith("__"):
        raise ValueError(f"{str(name)[:40]!r} is not a name")
    return str(name)


def _method(name: str, knobs: list[Any]) -> Callable[..., Any]:
    def method(self: Any, n: Any) -> Any:
        raise AssertionError("a stand-in does nothing")

    method.__name__ = method.__qualname__ = name
    method.__annotations__ = {_word(knob): _from_json(kind) for knob, kind, _ in knobs}
    plain = [inspect.Parameter(word, inspect.Parameter.POSITIONAL_OR_KEYWORD) for word in ("self", "n")]
    named = inspect.Parameter.KEYWORD_ONLY
    keywords = [inspect.Parameter(knob, named, default=default) for knob, _, default in knobs]
    method.__signature__ = inspect.Signature([*plain, *keywords])  # type: ignore[attr-defined]
    return method


def _as_json(kind: Any) -> Any:
    """A type as JSON. A type without a form here becomes "Any"; the process checks by the real type."""
    for word, simple in _SIMPLE.items():
        if kind is simple or (kind is None and word == "None"):
            return word
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"literal": [plain_value(value) for value in inner]}
    if origin in (typing.Union, types.UnionType):
        return {"union": [_as_json(one) for one in inner]}
    if origin in (list, tuple, dict):
        return {origin.__name__: ["..." if one is ... else _as_json(one) for one in inner]}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": {name: plain_value(member.value) for name, member in kind.__members__.items()}}
    return "Path" if isinstance(kind, type) and issubclass(kind, PurePath) else "Any"


def _from_json(kind: Any) -> Any:
    if isinstance(kind, str):
        return _SIMPLE[kind]
    ((word, inner),) = kind.items()
    if word == "literal":
        return typing.Literal[tuple(inner)]
    if word == "enum":
        members = {_word(name): value for name, value in inner.items()}
        return enum.Enum("Choice", members)
    parts = tuple(... if one == "..." else _from_json(one) for one in inner)
    if word == "union":
        return typing.Union[parts]  # noqa: UP007
    return {"list": list, "tuple": tuple, "dict": dict}[word][parts]  # type: ignore[index]
