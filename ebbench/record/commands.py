"""The words of `ebbench run` that make a result, and values as a command has them."""

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
    """ "run" and its options, a word each; `settings` are task options, knobs and SAMPLER.KNOB by name."""
    words = ["run", "--task", task, "--model", model, "--budget", budget]
    words += ["--protocol", protocol] if protocol else []
    words += ["--sampler", sampler] if sampler else []
    for key, value in settings.items():
        words += ["--set", f"{key}={as_toml(value)}"]
    return [*words, "--seeds", seeds]


def from_toml(text: str) -> Any:
    """The TOML value that `text` is, all of it; else the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
        # In a list a comment hides the bracket: what TOML would cut off belongs to the text.
        tomllib.loads(f"value = [{text}]")
    # A ValueError that is no TOMLDecodeError: a whole number of thousands of digits.
    except (ValueError, RecursionError):
        return text
    # JSON, and so a result, has no dates.
    return text if isinstance(value, datetime.date | datetime.time) else value


def as_toml(value: Any) -> str:
    """The value as the text behind `--set key=`, bare where that is read back as the same string."""
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
    # TOML's strings are JSON's but for this one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
