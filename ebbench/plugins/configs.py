"""Values that a user or a card gives, checked against the types of a dataclass or of a sampler's knobs."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ebbench.errors import UsageError, unknown


def build_config(cls: type[Any], changes: Mapping[str, Any], where: str) -> Any:
    """The frozen dataclass `cls` with `changes` laid over its defaults, each checked against its type."""
    return _build(cls, {}, changes, where)


def _build(cls: type[Any], base: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> Any:
    """The frozen dataclass with `changes` laid over `base`, each value checked against its type."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    values = dict(base)
    for key, value in changes.items():
        if key not in fields:
            raise unknown("key", key, fields, where=where)
        values[key] = _checked(key, value, typing.get_type_hints(cls)[key], where)
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        # A dataclass may check its own values in __post_init__.
        raise UsageError(f"a value is refused: {error}", where=where) from error


def _checked(key: str, value: Any, kind: Any, where: str) -> Any:
    if isinstance(value, list):
        value = tuple(value)
    try:
        return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value, strict=True)
    except ValidationError as error:
        shown = getattr(kind, "__name__", None) or str(kind).replace("typing.", "")
        raise UsageError(
            f"'{key}' cannot be {value!r}: {error.errors()[0]['msg']}",
            where=where,
            expected=f"a value of type {shown}",
        ) from error


def check_knobs(values: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A sampler's knobs as given, each checked against the type of its default. Raises UsageError."""
    checked = {}
    for key, value in values.items():
        if key not in defaults:
            raise unknown("knob", key, defaults, where=where)
        checked[key] = _checked(key, value, type(defaults[key]), where)
    return checked
