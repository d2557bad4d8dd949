"""The words of the `ebbench run` command that makes a result, and values in their command-line form."""

from __future__ import annotations

import datetime
import enum
import json
import tomllib
from collections.abc import Mapping
from typing import Any


def run_words(
    *,
    task: str,
    model: str,
    budget: str,
    protocol: str,
    sampler: str,
    settings: Mapping[str, Any],
    seeds: str,
) -> list[str]:
    """The separate words of `run` and its options; `settings` are as for --set, by name."""
    words = ["run", "--task", task, "--model", model, "--budget", budget]
    words += ["--protocol", protocol] if protocol else []
    words += ["--sampler", sampler] if sampler else []
    for key, value in settings.items():
        words += ["--set", f"{key}={as_toml(value)}"]
    return [*words, "--seeds", seeds]


def from_toml(text: str) -> Any:
    """The TOML value of all of `text`; if it is not TOML, the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        # Inside a list, a comment would hide the closing bracket; so text that TOML would cut off is kept.
        tomllib.loads(f"value = [{text}]")
    # An integer with thousands of digits raises a plain ValueError, not a TOMLDecodeError.
    except (ValueError, RecursionError):
        return text
    # JSON has no dates, so results have none either.
    return text if isinstance(value, datetime.date | datetime.time) else value


def as_toml(value: Any) -> str:
    """The value as text behind `--set key=`; strings are unquoted if they read back unchanged."""
    if isinstance(value, enum.Enum):
        return as_toml(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if value == value.strip() and from_toml(value) == value else _quoted(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(_quoted(v) if isinstance(v, str) else as_toml(v) for v in value) + "]"
    return str(value)


def _quoted(text: str) -> str:
    # TOML strings equal JSON strings except for this character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
