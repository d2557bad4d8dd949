"""Converts between command-line words and values."""

from __future__ import annotations

import numbers
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ebbench.errors import UsageError
from ebbench.record.commands import as_toml, from_toml, run_words
from ebbench.record.text import fault
from ebbench.record.values import MOST_OF_A_SEED, TOO_LARGE
from ebbench.running.request import Request

# Stages at which a run can end early: after the model's own training, or its base's.
OWN, BASE = "training", "base"
MOST_SEEDS = 10_000
# Maximum number of characters of all settings, since a result keeps its command in one line.
MOST_OF_SETTINGS = 2_000
# More than a year must be a mistake, and a timer has a maximum.
LONGEST_SECONDS = 366 * 86_400.0
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

_PATH = ((str, os.PathLike), "a name, or the path of a folder")
_TEXT = ((str,), "a text")
# The types that an argument may have, and what an error says of them. A text is the rule.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "task": _PATH,
    "model": _PATH,
    "results": ((str, os.PathLike), "the path of a folder"),
    "settings": ((Mapping, type(None)), 'a dict, such as {"steps": 1000}'),
    "options": ((Mapping, type(None)), 'a dict, such as {"stacks": 4}'),
    "threads": ((numbers.Integral, type(None)), "a whole number; 0 stands for every core"),
}


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """`key=value` words -> values: TOML if it parses, else the bare string (`source=mnist`).

    White space around keys and values is ignored. Raises UsageError for a pair without a key, a duplicate or
    impossible key, and a value with a newline or another control character.
    """
    settings: list[tuple[str, Any]] = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"cannot read --set {pair!r}", expected="key=value", fix="for example: --set stacks=4"
            )
        # Before TOML parsing, which would cut it at a newline.
        _check_text(text, key, "--set")
        settings.append((key, from_toml(text.strip())))
    return checked_settings(settings, "--set")


def checked_settings(settings: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """Check settings from the command line or a plan; `where` names the source. Raises UsageError.

    A key is a name, or names with dots in between (`sampler.knob`).
    """
    checked: dict[str, Any] = {}
    for written, value in settings:
        key = ".".join(part.strip() for part in str(written).split("."))
        if not isinstance(written, str) or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
            raise UsageError(
                f"{written!r} is not a key",
                where=where,
                expected="a name such as steps, or SAMPLER.KNOB",
                fix="for example: --set stacks=4",
            )
        if key in checked:
            raise UsageError(f"'{key}' is set twice", where=where, expected="each key once")
        _check_value(value, key, where)
        checked[key] = value
    if sum(len(f"{key}={as_toml(value)}") for key, value in checked.items()) > MOST_OF_SETTINGS:
        raise UsageError(
            "the settings are too long",
            where=where,
            expected=f"at most {MOST_OF_SETTINGS:,} characters in all",
        )
    return checked


def _check_value(value: Any, key: str, where: str) -> None:
    if isinstance(value, str):
        _check_text(value, key, where)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_value(item, key, where)
    # NaN is not less than anything.
    elif isinstance(value, int | float) and not abs(value) < TOO_LARGE:
        raise UsageError(
            f"'{key}' cannot be a number of this size", where=where, expected=f"a number below {TOO_LARGE:g}"
        )


def _check_text(text: str, key: str, where: str) -> None:
    if found := fault(text, MOST_OF_SETTINGS):
        raise UsageError(
            f"the value of {key.strip()!r} {found}: {text[:80]!r}",
            where=where,
            expected="one line of visible characters",
            fix="give each setting a --set of its own" if "\n" in text else "",
        )


def parse_seeds(texts: Iterable[str] | str, where: str = "--seeds") -> list[int]:
    """`0-4`, `7` or `0,2,5-6`, or several such texts -> the seeds, in order and without repeats.

    Raises UsageError for anything else, for a seed above 4294967295 and for more than 10,000 seeds.
    """
    seeds: dict[int, None] = {}
    for text in [texts] if isinstance(texts, str) else texts:
        for part in text.split(","):
            found = re.fullmatch(r"([0-9]{1,20})(?:\s*-\s*([0-9]{1,20}))?", part.strip())
            low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
            if high < low:
                raise UsageError(
                    f"cannot read the seeds {text!r}", where=where, expected="such as 0-4 or 0,2,7"
                )
            if high > MOST_OF_A_SEED:
                raise UsageError(
                    f"the seed {high} is too large", where=where, expected=f"seeds from 0 to {MOST_OF_A_SEED}"
                )
            if high - low >= MOST_SEEDS or len(seeds) >= MOST_SEEDS:
                raise UsageError(
                    f"too many seeds: {text!r}", where=where, expected=f"at most {MOST_SEEDS:,} of them"
                )
            seeds |= dict.fromkeys(range(low, high + 1))
    if not seeds:
        raise UsageError("there are no seeds", where=where, expected="such as 0-4 or 0,2,7")
    return list(seeds)


def split_variant(model: str) -> tuple[str, str, str]:
    """`NAME:VARIANT` -> name, colon and variant; the last two are "" without a variant."""
    # The colon after a drive letter (C:\...) belongs to a path.
    head, colon, tail = model.rpartition(":")
    if not colon or len(head) == 1 or "/" in tail or "\\" in tail:
        return model, "", ""
    return head, colon, tail


def parse_duration(text: str, where: str = "--time-limit") -> float:
    """Seconds of "90s", "9m", "1.5h", "2d" or a plain number of seconds: above 0, at most 366 days.

    Raises UsageError.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not 0.0 < seconds <= LONGEST_SECONDS:
        raise UsageError(
            f"{text!r} is not a duration" if seconds <= 0.0 else f"{text!r} is too long",
            where=where,
            expected="such as 90s, 9m, 1.5h or 2d; more than 0 and at most 366 days",
        )
    return seconds


def run_command(request: Request, seeds: str) -> list[str]:
    """The words of `ebbench run` for a request, to be run as a separate process.

    With -P no file in the working directory can shadow a module.
    """
    words = run_words(
        task=request.task,
        model=request.model,
        budget=request.budget,
        protocol=request.protocol,
        sampler=request.sampler,
        settings=request.set,
        seeds=seeds,
    )
    return [sys.executable, "-P", "-m", "ebbench.cli.main", *words]


def check_types(**given: Any) -> None:
    """Check the types of arguments of the functions for notebooks, by their names. Raises UsageError."""
    for name, value in given.items():
        kinds, expected = _TYPES.get(name, _TEXT)
        if not isinstance(value, kinds) or (name == "threads" and isinstance(value, bool)):
            raise UsageError(f"{name} cannot be {value!r}", where=name, expected=expected)
