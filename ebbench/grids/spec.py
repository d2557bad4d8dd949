"""Read a grid, a TOML file that spans settings of several methods, and choose all or some of its settings."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ebbench.contract import Metric
from ebbench.errors import UsageError, unknown
from ebbench.plugins import loader
from ebbench.plugins.configs import plain_value
from ebbench.running import words
from ebbench.running.request import Request
from ebbench.running.spec import Spec, resolve
from ebbench.storage.hashing import content_hash, derive_seed
from ebbench.sweeps.plan import Job
from ebbench.sweeps.tables import read_toml

# The maximum number of settings of a method. More is probably a mistake: at a second each, these take a day.
MOST_SETTINGS = 100_000
# The two parts of a knob that is a list of equal layers: their number, and the width of each.
DEPTH, WIDTH = "depth", "width"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Method(_Strict):
    """One `[[methods]]` table. It stands for every combination of the values of its axes."""

    name: str = Field(min_length=1, max_length=60)
    model: str = Field(min_length=1)
    axes: dict[str, Any] = Field(min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    sample: int | None = Field(default=None, ge=1)


class _File(_Strict):
    name: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=60)
    task: str
    budget: str = "cpu"
    protocol: str = ""
    seeds: str = "0"
    metric: str = ""
    threshold: float | None = None
    heat: list[str] = Field(default_factory=list, max_length=2)
    keep: bool = False
    set: dict[str, Any] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    methods: list[_Method] = Field(min_length=1)


@dataclass(frozen=True)
class Setting:
    """One point of a grid: the method, its number among the method's settings, and the value on each axis."""

    method: str
    index: int
    axes: Mapping[str, Any]
    job: Job


@dataclass(frozen=True)
class Method:
    """A method of a grid: its model, the `fixed` values of all its settings, and the values of each axis.

    `sample` is how many settings to run by default, or None for all.
    """

    name: str
    model: str
    fixed: Mapping[str, Any]
    axes: Mapping[str, Sequence[Any]]
    sample: int | None

    @property
    def size(self) -> int:
        """The number of settings: the product of the numbers of values of the axes."""
        return math.prod(len(values) for values in self.axes.values())

    def at(self, index: int) -> dict[str, Any]:
        """The value on each axis for the setting number `index`. The last axis changes fastest."""
        found: dict[str, Any] = {}
        for axis, values in reversed(list(self.axes.items())):
            index, place = divmod(index, len(values))
            found[axis] = values[place]
        return dict(reversed(found.items()))

    def place(self, axes: Mapping[str, Any]) -> int | None:
        """The number, as in `at`, of the setting with these values; None if there is no such setting."""
        if set(axes) != set(self.axes):
            return None
        found = 0
        for axis, values in self.axes.items():
            if axes[axis] not in values:
                return None
            found = found * len(values) + list(values).index(axes[axis])
        return found

    def chosen(self, n: int | None, seed: int) -> list[int]:
        """Draw the numbers of `n` settings without repetition; all if `n` is None or too large.

        The same seed gives the same settings. A larger `n` gives the same ones and more.
        """
        order = sorted(range(self.size), key=lambda index: (derive_seed(seed, self.name, index), index))
        return order[:n]


@dataclass(frozen=True)
class Grid:
    """A grid as its file defines it.

    `labels` are the names of axes in pictures, and `heat` is two of them. `gates` are the task's metrics that
    are gates. `keep` says whether trained states stay in the run store: they are large, and pictures do not
    need them.
    """

    name: str
    task: str
    budget: str
    protocol: str
    seeds: Sequence[int]
    metric: Metric
    gates: Sequence[str]
    threshold: float | None
    heat: Sequence[str]
    keep: bool
    labels: Mapping[str, str]
    methods: Sequence[Method]

    def label(self, axis: str) -> str:
        """The name of an axis in pictures."""
        return self.labels.get(axis, axis)

    def basis(self, method: Method) -> str:
        """A short hash of what the settings of a method share: task, protocol, budget, model, `set`."""
        key = [self.task, self.protocol, self.budget, method.model, dict(method.fixed)]
        return content_hash({"basis": plain_value(key)})[:10]

    def settings(self, samples: Mapping[str, int | None], seed: int) -> list[Setting]:
        """The settings to run, each resolved. `samples` gives the number for each method, None for all.

        The methods take turns. So an interrupted grid has about the same share of each method. Raises
        UsageError or PluginError for an invalid setting.
        """
        load = functools.cache(loader.load)
        ranked: list[tuple[float, Setting]] = []
        for method in self.methods:
            indices = method.chosen(samples[method.name], seed)
            for rank, index in enumerate(indices):
                for setting in self._of(method, index, load):
                    ranked.append(((rank + 0.5) / len(indices), setting))
        ranked.sort(key=lambda pair: pair[0])
        return [setting for _, setting in ranked]

    def _of(self, method: Method, index: int, load: Any) -> Iterator[Setting]:
        axes = method.at(index)
        chosen = {**method.fixed, **_values(axes)}
        request = Request(
            task=self.task,
            model=method.model,
            budget=self.budget,
            protocol=self.protocol,
            set=words.checked_settings(chosen.items(), f"method '{method.name}' of the grid"),
        )
        spec: Spec = resolve(request, load)
        for seed in self.seeds:
            yield Setting(method.name, index, axes, Job(request, spec, seed))


def read_grid(path: Path) -> Grid:
    """Read the grid in a file. Raises UsageError, and PluginError if the task cannot be loaded."""
    read = _validated(path)
    where = str(path)
    metrics: Sequence[Metric] = loader.load("task", read.task).cls.metrics
    by_name = {metric.name: metric for metric in metrics}
    chosen = read.metric or next((metric.name for metric in metrics if metric.primary), "")
    if chosen not in by_name:
        raise unknown("metric", chosen, by_name, where=where)
    methods = [_method(one, read.set, where) for one in read.methods]
    names = [method.name for method in methods]
    if len(set(names)) < len(names):
        raise _wrong("two methods have the same name", where, "a different name for each of [[methods]]")
    axes = {axis for method in methods for axis in method.axes}
    for axis in read.labels:
        if axis not in axes:
            raise unknown("axis", axis, axes, where=f"[labels] in {where}")
    labels = {read.labels.get(axis, axis) for axis in axes}
    for label in read.heat:
        if label not in labels:
            raise unknown("axis", label, labels, where=f"heat in {where}")
    return Grid(
        name=read.name or re.sub(r"[^A-Za-z0-9._-]|^[._-]", "_", path.stem),
        task=read.task,
        budget=read.budget,
        protocol=read.protocol,
        seeds=words.parse_seeds(read.seeds, where),
        metric=by_name[chosen],
        gates=[metric.name for metric in metrics if metric.gate],
        threshold=read.threshold,
        heat=read.heat,
        keep=read.keep,
        labels=read.labels,
        methods=methods,
    )


def samples_of(grid: Grid, said: Sequence[str]) -> dict[str, int | None]:
    """The number of settings to run for each method; None for all.

    It is the grid's own number, unless a text in `said` overrides it: `N`, `all`, `METHOD=N` or `METHOD=all`.
    Raises UsageError.
    """
    wanted = {method.name: method.sample for method in grid.methods}
    for text in said:
        name, equals, number = text.rpartition("=")
        if equals and name not in wanted:
            raise unknown("method", name, wanted, where=f"--sample {text}")
        if number != "all" and not (number.isascii() and number.isdigit() and int(number) > 0):
            raise UsageError(
                f"cannot read --sample {text!r}",
                expected="a number above 0, or all, or METHOD=NUMBER",
                fix="for example: --sample 48",
            )
        value = None if number == "all" else int(number)
        wanted |= dict.fromkeys([name] if equals else wanted, value)
    return wanted


def _validated(path: Path) -> _File:
    raw = read_toml(path, "grid", fix="see docs/grid.md")
    if "runs" in raw:
        raise UsageError(
            "this is a plan, not a grid",
            where=str(path),
            expected="a name, a task, and [[methods]] with axes",
            fix=f"`ebbench sweep {path}` runs it",
        )
    try:
        return _File.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        known = _Method.model_fields if first["loc"][:1] == ("methods",) else _File.model_fields
        raise _wrong(
            f"the grid is wrong at '{at}': {first['msg']}", str(path), "the keys " + ", ".join(known)
        ) from error


def _method(read: _Method, common: Mapping[str, Any], where: str) -> Method:
    axes: dict[str, Sequence[Any]] = {}
    for knob, values in read.axes.items():
        of = f"axis '{knob}' of method '{read.name}'"
        if isinstance(values, dict):
            if set(values) != {DEPTH, WIDTH}:
                raise _wrong(f"{of} is a table of {sorted(values)}", where, f"the keys {DEPTH} and {WIDTH}")
            for part in (DEPTH, WIDTH):
                whole = _listed(values[part], f"{of}, {part}", where)
                if not all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in whole):
                    raise _wrong(f"{of}, {part}, is {whole}", where, "whole numbers above 0")
                axes[f"{knob}.{part}"] = whole
        else:
            axes[knob] = _listed(values, of, where)
    method = Method(read.name, read.model, {**common, **read.set}, axes, read.sample)
    for knob in _values(method.at(0)):
        if knob in method.fixed:
            raise _wrong(f"'{knob}' is both an axis and a setting of '{read.name}'", where, "one of the two")
    if method.size > MOST_SETTINGS:
        raise _wrong(
            f"method '{read.name}' has {method.size:,} settings", where, f"at most {MOST_SETTINGS:,}"
        )
    return method


def _listed(values: Any, of: str, where: str) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise _wrong(f"{of} is {values!r}", where, "a list of at least one value")
    if any(one == other and type(one) is type(other) for one, other in itertools.combinations(values, 2)):
        raise _wrong(f"{of} has a value twice: {values}", where, "each value once")
    return values


def _values(axes: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs that a point of the axes sets. A depth and a width together set a list of equal layers."""
    found: dict[str, Any] = {}
    for axis, value in axes.items():
        knob, _, part = axis.rpartition(".")
        if part == DEPTH and f"{knob}.{WIDTH}" in axes:
            found[knob] = [axes[f"{knob}.{WIDTH}"]] * value
        elif not (part == WIDTH and f"{knob}.{DEPTH}" in axes):
            found[axis] = value
    return found


def _wrong(what: str, where: str, expected: str) -> UsageError:
    return UsageError(what, where=where, expected=expected, fix="see docs/grid.md")
