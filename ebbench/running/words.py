"""Words of the command line to values, and values to words."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from typing import Any

from ebbench.errors import UsageError
from ebbench.running.request import Request


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` words -> values: TOML where it parses, else the bare string (`source=mnist`)."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"cannot read --set '{pair}'", expected="key=value", fix="for example: --set stacks=4"
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        if key in settings:
            raise UsageError(f"'{key}' is set twice", where="--set", expected="each key once")
        settings[key.strip()] = value
    return settings


def parse_seeds(text: str) -> list[int]:
    """`0-4`, `7` or `0,2,5-6` -> the seeds, in order and without repeats."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            low, high = int(first), int(last) if dash else int(first)
        except ValueError:
            low, high = 1, 0
        if high < low or high - low > 10_000:
            raise UsageError(
                f"cannot read the seeds '{text}'", where="--seeds", expected="such as 0-4 or 0,2,7"
            )
        seeds += [seed for seed in range(low, high + 1) if seed not in seeds]
    return seeds


def split_variant(model: str) -> tuple[str, str, str]:
    # The colon after a drive letter (C:\...) is part of a path.
    head, colon, tail = model.rpartition(":")
    if not colon or len(head) == 1 or "/" in tail or "\\" in tail:
        return model, "", ""
    return head, colon, tail


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


def parse_duration(text: str) -> float:
    """Seconds of "90s", "9m", "1.5h" or a bare number of seconds. Raises UsageError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found or float(found[1]) == 0:
        raise UsageError(f"'{text}' is no duration", where="--time-limit", expected="such as 90s, 9m or 1.5h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def run_command(request: Request, seeds: str) -> list[str]:
    """The words of `ebbench run --json` for a request, as a process of its own."""
    command = [sys.executable, "-m", "ebbench.cli.main", "run", "--json"]
    command += ["--task", request.task, "--model", request.model]
    command += ["--budget", request.budget, "--seeds", seeds]
    command += ["--protocol", request.protocol] if request.protocol else []
    command += ["--sampler", request.sampler] if request.sampler else []
    for key, value in request.set.items():
        command += ["--set", f"{key}={json.dumps(value)}"]
    return command
