"""The page of a result: all that its file holds, except the details of its parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ebbench.record.schema import Result

# The longest list that is shown whole. The JSON has every list whole.
LONGEST_LIST = 24

# One encoder for all calls, because json.dumps with an option makes a new one each time.
AS_JSON = json.JSONEncoder(ensure_ascii=False).encode


def sections(result: Result) -> list[tuple[str, list[tuple[str, str]]]]:
    """The content of a result by sections: the title of each, and its facts as names and values.

    The parts are left out. They have a table, and forty parts would have thousands of facts.
    """
    whole = result.model_dump(mode="json", exclude={"parts"})
    top = [(key, _text(value)) for key, value in whole.items() if not isinstance(value, dict | list)]
    made = [("identity", top)]
    for key, value in whole.items():
        if isinstance(value, dict | list) and value:
            pairs: list[tuple[str, str]] = []
            _flatten(value, "", pairs)
            made.append((key, pairs))
    return made


def metrics_of_parts(result: Result) -> list[str]:
    """The metrics that all parts of a result have."""
    first = result.parts[0].metrics if result.parts else {}
    return [name for name in first if all(name in part.metrics for part in result.parts)]


def listed(facts: Sequence[tuple[str, str]]) -> Markup:
    """Return facts as the items of a definition list. A template would take twice as long for thousands."""
    return Markup("".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>\n" for key, value in facts))


def _flatten(value: Any, prefix: str, pairs: list[tuple[str, str]]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _flatten(inner, f"{prefix}.{key}" if prefix else key, pairs)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for i, inner in enumerate(value):
            _flatten(inner, f"{prefix}[{i}]", pairs)
    else:
        pairs.append((prefix, _text(value)))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) or type(value) is int:
        return repr(value)
    if isinstance(value, list) and len(value) > LONGEST_LIST:
        return f"{len(value)} values: {AS_JSON(value[:6])[1:-1]}, ... (all in the JSON)"
    return AS_JSON(value)


def pictures(result: Result, file: Path) -> list[tuple[str, Path]]:
    """The pictures of the result in `file` that are shown, by name: PNG files beside it.

    Symbolic links are left out: they may lead to any file of the machine.
    """
    beside = [(name, file.parent / picture) for name, picture in result.pictures.items()]
    return [(n, p) for n, p in beside if p.is_file() and not p.is_symlink() and p.suffix == ".png"]
