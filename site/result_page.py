"""A result's own page: what stands in its file, but for the details of parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ebbench.record.schema import Result

# Values of a list that are shown; all of them are in the JSON.
LONGEST_LIST = 24

# json.dumps with an option makes an encoder at each call.
AS_JSON = json.JSONEncoder(ensure_ascii=False).encode


def sections(result: Result) -> list[tuple[str, list[tuple[str, str]]]]:
    """What a result holds, section after section: its title, and its facts as names and values.

    Its parts are left out: they have a table, and forty of them have thousands of facts.
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
    """Facts as the items of a definition list; thousands of them take a template twice as long."""
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
    """The pictures of the result in `file` that are shown: PNGs beside it, no links (to who knows what)."""
    beside = [(name, file.parent / picture) for name, picture in result.pictures.items()]
    return [(n, p) for n, p in beside if p.is_file() and not p.is_symlink() and p.suffix == ".png"]
