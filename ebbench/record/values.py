"""Valid values of a result: single-line texts, finite numbers, and JSON made of those."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from ebbench.record.text import fault

# Maximum lengths in characters: of a name (of a task, a model, a metric, a file), of a line (a title, a
# command), and of a text in a configuration or in the details.
MOST_OF_A_NAME = 200
MOST_OF_A_LINE = 4_000
MOST_OF_A_VALUE = 10_000

# Numbers must be smaller than this, so that sums, differences and intervals over seeds do not overflow.
TOO_LARGE = 1e300

# The largest seed that torch, NumPy and Python's random all accept.
MOST_OF_A_SEED = 2**32 - 1


def _plain(value: Any, where: tuple[Any, ...] = ()) -> Any:
    """`value` in JSON types: tuples become lists; raises for values that JSON cannot hold.

    `config` and `details` come from plug-ins, so this rejects their NaNs and arrays. `where` is the path of
    `value` in pieces; it is joined only for an error, since results are long.
    """
    # The cheap and frequent tests first: a result has hundreds of values.
    if isinstance(value, str):
        return _text(value, MOST_OF_A_VALUE, where)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{_spelled(where) or 'value'} is {value}; numbers must be finite")
        return float(_small(value, where))
    if isinstance(value, int):
        return int(_small(value, where))
    if isinstance(value, (list, tuple)):
        return [_plain(item, (where, i)) for i, item in enumerate(value)]
    if isinstance(value, (dict, Mapping)):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"key {key!r} of {_spelled(where) or 'the object'} is not a string")
            if found := fault(key, MOST_OF_A_NAME):
                raise ValueError(f"a key of {_spelled(where) or 'the object'} {found}")
        return {key: _plain(item, (where, key)) for key, item in value.items()}
    raise ValueError(f"{_spelled(where) or 'value'} is a {type(value).__name__}, which JSON cannot hold")


def _small(number: float, where: tuple[Any, ...]) -> float:
    if abs(number) >= TOO_LARGE:
        raise ValueError(f"{_spelled(where) or 'value'} is a number of {TOO_LARGE:g} or more")
    return number


def _text(text: str, most: int, where: tuple[Any, ...] = ()) -> str:
    if found := fault(text, most):
        raise ValueError(f"{_spelled(where) or 'the text'} {found}")
    return text


def _name(text: str) -> str:
    return _text(text, MOST_OF_A_NAME)


def _line(text: str) -> str:
    return _text(text, MOST_OF_A_LINE)


def _spelled(where: tuple[Any, ...]) -> str:
    if not where:
        return ""
    outer, key = _spelled(where[0]), where[1]
    if isinstance(key, int):
        return f"{outer}[{key}]"
    return f"{outer}.{key}" if outer else key


def _utc(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    return text


def _beside(name: str) -> str:
    # A result may be untrusted, and a page shows the files that it names.
    if name in ("", ".", "..") or any(character in name for character in "/\\:\0"):
        raise ValueError(f"{name!r} is not a plain file name")
    return _name(name)


# Any, because `_plain` has checked every value, and pydantic's JsonValue would check again.
Json = Annotated[dict[str, Any], BeforeValidator(_plain)]


# Text of one line, possibly empty, with the length of a name or of a title.
Word = Annotated[str, Field(max_length=MOST_OF_A_NAME), AfterValidator(_name)]
Line = Annotated[str, Field(max_length=MOST_OF_A_LINE), AfterValidator(_line)]

Name = Annotated[str, Field(min_length=1, max_length=MOST_OF_A_NAME), AfterValidator(_name)]

Number = Annotated[float, Field(gt=-TOO_LARGE, lt=TOO_LARGE)]

Count = Annotated[int, Field(ge=0, lt=2**63)]

Cores = Annotated[int, Field(ge=1, lt=2**31)]

Seconds = Annotated[float, Field(ge=0, lt=TOO_LARGE)]

Rate = Annotated[float, Field(ge=0, lt=TOO_LARGE)]

Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"), AfterValidator(_utc)]

FileName = Annotated[str, Field(max_length=MOST_OF_A_NAME), AfterValidator(_beside)]
