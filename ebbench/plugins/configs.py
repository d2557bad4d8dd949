"""Check values from a user or a card against the types of a dataclass or of a sampler's knobs.

Values come as TOML or JSON has them, and are converted to the types of the annotations. An Enum is given by
its value or its name, a Path as text, a tuple as a list. `plain` turns the values back into JSON.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Literal

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from ebbench.errors import ContractError, EbbenchError, UsageError, unknown
from ebbench.plugins import introspection

_PLAIN = "None, bool, int, a finite float, str, Path, Enum, and lists, tuples, dicts and dataclasses of these"


def check_config(cls: Any, where: str) -> None:
    """Raise ContractError, which names the field, if `cls` is not a valid Config or Options.

    It must be a frozen dataclass. Each field needs a default that JSON can hold and a type that can be
    checked. `where` names the class and its file.
    """
    parameters = getattr(cls, "__dataclass_params__", None)
    # A class whose base is a dataclass looks like one too. But its own annotations are not fields.
    half = parameters is not None and "__dataclass_fields__" not in vars(cls) and inspect.get_annotations(cls)
    if not isinstance(cls, type) or parameters is None or half:
        raise ContractError(
            "it is not a dataclass",
            where=where,
            expected="a frozen dataclass",
            fix="write @dataclass(frozen=True) above the class",
        )
    if not parameters.frozen:
        raise ContractError(
            "the dataclass is not frozen",
            where=where,
            expected="@dataclass(frozen=True)",
            fix="add frozen=True",
        )
    for field in dataclasses.fields(cls):
        if field.init and {field.default, field.default_factory} == {dataclasses.MISSING}:
            raise ContractError(
                f"{cls.__name__}.{field.name} has no default",
                where=where,
                expected="a default for every field",
                fix=f"write {field.name}: ... = ...",
            )
    types = introspection.field_types(cls, where)
    try:
        defaults = cls()
    except EbbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise ContractError(
            f"the class refuses its own defaults: {type(error).__name__}: {error}",
            where=where,
            expected="defaults that the class accepts",
        ) from error
    for field in dataclasses.fields(cls):
        of = f"{cls.__name__}.{field.name}"
        _plain(getattr(defaults, field.name), f"the default of {of}", where)
        _adapter(types[field.name], of, where)


def check_sampler(method: Callable[..., Any], where: str) -> None:
    """Raise ContractError, which names the argument, if a sampler cannot be called or its knobs not set."""
    types = introspection.knob_types(method, where)
    for name, default in introspection.knobs(method).items():
        _plain(default, f"the default of the knob '{name}'", where)
        _adapter(types[name], f"the knob '{name}'", where)


def build_config(cls: type[Any], changes: Mapping[str, Any], where: str) -> Any:
    """Make an object of the frozen dataclass `cls`. `changes` override its defaults.

    Each change is checked against its type. Raises UsageError, which gives `where` as the source of the
    changes.
    """
    return _constructed(lambda values: cls(**values), cls, changes, where)


def change_config(config: Any, changes: Mapping[str, Any], where: str) -> Any:
    """Return the dataclass `config` with `changes` to its values. Checks and errors as in `build_config`."""
    return _constructed(lambda values: dataclasses.replace(config, **values), type(config), changes, where)


def _constructed(
    make: Callable[[dict[str, Any]], Any], cls: type[Any], changes: Mapping[str, Any], where: str
) -> Any:
    fields = {f.name for f in dataclasses.fields(cls) if f.init}
    types = introspection.field_types(cls, where) if changes else {}
    values = {}
    for key, value in changes.items():
        if key not in fields:
            raise unknown("key", key, fields, where=where)
        values[key] = _checked(key, value, types[key], where)
    try:
        return make(values)
    except EbbenchError:
        raise
    except (Exception, SystemExit) as error:
        # A dataclass may check its values in __post_init__, which may raise anything.
        raise UsageError(f"a value is refused: {error}", where=where) from error


def check_knobs(values: Mapping[str, Any], method: Callable[..., Any], where: str) -> dict[str, Any]:
    """Check values for knobs of the sampler `method`, and return them converted to their types.

    The type of a knob is its annotation, or else the type of its default. Raises UsageError, which gives
    `where` as the source of the values.
    """
    types = introspection.knob_types(method, where) if values else {}
    checked = {}
    for key, value in values.items():
        if key not in types:
            raise unknown("knob", key, types, where=where)
        checked[key] = _checked(key, value, types[key], where)
    return checked


def plain(config: Any) -> dict[str, Any]:
    """The values of a Config or of Options by field, as values that JSON can hold.

    Raises ContractError, which names the field, for a value that JSON cannot hold.
    """
    where = f"class {type(config).__qualname__}"
    return {
        field.name: _plain(getattr(config, field.name), f"'{field.name}'", where)
        for field in dataclasses.fields(config)
    }


def plain_value(value: Any) -> Any:
    """One value of a Config, Options or knob as a value that JSON can hold. An Enum gives its value.

    Raises ContractError for a value that JSON cannot hold.
    """
    return _plain(value, "a value", "")


def _plain(value: Any, what: str, where: str) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value, what, where)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item, what, where) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, what, where) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), what, where) for f in dataclasses.fields(value)}
    finite = isinstance(value, float) and math.isfinite(value)
    if value is None or isinstance(value, bool | int | str) or finite:
        return value
    raise ContractError(
        f"{what} is {value!r}, which a result cannot hold",
        where=where,
        expected=_PLAIN,
        fix="use None for a missing value, else a number or a text",
    )


def _checked(key: str, value: Any, kind: Any, where: str) -> Any:
    """Return `value` converted to the type `kind`. Raises UsageError if it does not fit."""
    adapter = _adapter(kind, f"'{key}'", where)
    given: list[Any] = [value, _by_name(value, kind)]
    # TOML has no None. So the word "none" means None, unless the text itself fits the type.
    given += [None] if isinstance(value, str) and value.lower() in ("none", "null") else []
    errors: list[ValidationError | ContractError] = []
    for one in given:
        try:
            # Validate as JSON: it converts a list to a tuple, and texts to Enum and Path. The rest is strict.
            return adapter.validate_json(json.dumps(plain_value(one)), strict=True)
        except (ValidationError, ContractError) as error:
            errors.append(error)
    first = errors[0]
    message = first.errors()[0]["msg"] if isinstance(first, ValidationError) else first.what
    if typing.get_origin(kind) is Literal:
        expected = f"one of {', '.join(map(str, typing.get_args(kind)))}"
        raise UsageError(f"'{key}' cannot be {value!r}", where=where, expected=expected) from first
    shown = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    choices = [member.name for one in _enums(kind) for member in one]
    raise UsageError(
        f"'{key}' cannot be {value!r}: {message}",
        where=where,
        expected=": ".join(
            filter(None, [f"a value of type {shown.replace('typing.', '')}", ", ".join(choices)])
        ),
    ) from first


def _adapter(kind: Any, name: str, where: str) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(kind, config=_settings(kind))
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError, AttributeError) as error:
        raise ContractError(
            f"the type {getattr(kind, '__name__', kind)} of {name} cannot be given in a card or by --set",
            where=where,
            expected=_PLAIN,
            fix="annotate it with a type of these",
        ) from error


def _settings(kind: Any) -> ConfigDict | None:
    # pydantic accepts no further settings for a dataclass, which has its own.
    return None if dataclasses.is_dataclass(kind) else ConfigDict(allow_inf_nan=False)


def _by_name(value: Any, kind: Any) -> Any:
    """`value` with the names of Enum members replaced by their values."""
    members = {name: member for one in _enums(kind) for name, member in one.__members__.items()}
    if isinstance(value, list):
        return [members.get(item, item) if isinstance(item, str) else item for item in value]
    return members.get(value, value) if isinstance(value, str) else value


def _enums(kind: Any) -> Iterator[type[enum.Enum]]:
    """The Enum classes in a type."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield kind
    for inner in typing.get_args(kind):
        yield from _enums(inner)
