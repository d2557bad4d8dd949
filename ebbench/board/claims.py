"""Papers' claims, as data beside the tasks (`claims.toml`), and what the rows of a board say about them.

No verdict is written by hand: `judge` computes it from a claim and the rows of its task.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ebbench.board import stats
from ebbench.board.labels import full_name, spelled
from ebbench.board.ranking import by_seed
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.errors import PluginError
from ebbench.plugins.budgets import BUDGETS

FILE = "claims.toml"

Outcome = Literal[
    "reproduced", "exceeded", "not reproduced", "contradicted", "at another budget only", "not run"
]
OUTCOMES: tuple[Outcome, ...] = (
    "reproduced",
    "exceeded",
    "not reproduced",
    "contradicted",
    "at another budget only",
    "not run",
)
# Budgets whose rows can support a claim: `smoke` only shows that a method runs.
COUNTED = tuple(budget for budget in reversed(BUDGETS) if budget != "smoke")
# An interval whose half-width exceeds this share of a claimed value, and the paper's own plus-minus, confirms
# nothing.
WIDEST = 0.1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Side(_Strict):
    """The row that a claim is about.

    `model` is "name" or "name:variant". Without a `sampler` it is the default one, without a `protocol` the
    task's first. `options` are the relevant task options, `overrides` the model settings changed by `--set`.
    `metric` defaults to the claim's.
    """

    model: str
    sampler: str = ""
    protocol: str = ""
    options: Mapping[str, Any] = Field(default_factory=dict)
    overrides: Mapping[str, Any] = Field(default_factory=dict)
    metric: str = ""


class Claim(_Strict):
    """One claim: a row has a `value`, or is better `than` another row.

    `says` is the claim in our words, `source` the paper and table, `confidence` how sure we are of it (as for
    `Published`). `budget` is the budget that the claim is about, `data` the data set. `needs` lists what a
    run requires that not everybody has.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,60}$")]
    paper: str
    source: str
    says: str
    confidence: Literal["verbatim", "quoted", "recalled", "derived"]
    metric: str
    of: Side
    value: float | None = None
    plus_minus: float = Field(default=0.0, ge=0)
    than: Side | None = None
    budget: Literal["cpu", "paper"] = "paper"
    data: str = ""
    needs: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> Claim:
        if (self.value is None) == (self.than is None):
            raise ValueError("a claim has either a value or a [claim.than], and not both")
        return self


@dataclass(frozen=True)
class Shown:
    """A row behind a verdict: whose it is ("meg@mala"), its number as text, and its results.

    Where the two rows of a comparison share a model, `apart` says what else they differ in.
    """

    who: str
    apart: str
    value: str
    runs: Sequence[str]


@dataclass(frozen=True)
class Verdict:
    """What the rows say about a claim.

    `said` gives the reason in words. `there` is the outcome at `budget` if that differs from the claim's.
    `runs` are the results behind it, and `rows` the same by row. `notes` stand in `said` beside the numbers.
    """

    task: str
    claim: Claim
    outcome: Outcome
    said: str
    budget: str = ""
    there: Outcome | None = None
    runs: Sequence[str] = ()
    rows: Sequence[Shown] = ()
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """As JSON values, one key per field."""
        return {**asdict(self), "claim": self.claim.model_dump(mode="json"), "runs": list(self.runs)}


def read(folder: Path) -> list[Claim]:
    """The claims in a task's folder; none without the file.

    Raises PluginError, which names the field.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    where = f"{folder.name}/{FILE}"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        claims = [Claim.model_validate(one) for one in table.get("claim", [])]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PluginError(
            f"the claims cannot be read: {error}", where=where, expected="a TOML file"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "claim"
        raise PluginError(
            f"a claim is wrong at '{field}': {first['msg']}",
            where=where,
            expected="the fields " + ", ".join(Claim.model_fields),
        ) from error
    twice = {one.id for one in claims if sum(other.id == one.id for other in claims) > 1}
    if twice:
        raise PluginError(f"two claims are called '{min(twice)}'", where=where, expected="an id of its own")
    return claims


def judge(task: str, claim: Claim, rows: Iterable[Row], metrics: Sequence[Metric], protocol: str) -> Verdict:
    """The verdict on one claim; `protocol` is the task's default.

    For a value, with the 95 % interval of our mean (Student's t):

    - `exceeded`: the interval lies on the better side of value ± plus_minus.
    - `contradicted`: it lies on the worse side.
    - `reproduced`: it overlaps value ± plus_minus, and its half-width is at most plus_minus, or at most
      `WIDEST` of the value if that is more.
    - `not reproduced`: it overlaps, but is wider.

    For a comparison, with the t-test of `stats.p_value` at 5 %: `reproduced` if the claimed row is better,
    `contradicted` if the other one is, `not reproduced` if they do not differ significantly.

    Only rows with at least two seeds count that may be ranked and passed the task's gates. Without one at the
    claim's budget, rows at another budget decide: `at another budget only`.
    """
    able = [row for row in rows if not row.block and not row.invalid]
    alone: Verdict | None = None
    for budget in dict.fromkeys([claim.budget, *COUNTED]):
        found = _rows(claim, [row for row in able if row.budget == budget], protocol)
        if not found:
            continue
        runs = [run for row in found for run in row.runs]
        shown = _shown(claim, found)
        older = ["by older code"] if any(row.code == "older code" for row in found) else []
        if any(len(by_seed(row, name)) < 2 for row, name in zip(found, _names(claim), strict=True)):
            notes = ["a row has a single seed, and a verdict takes two", *older]
            said = f"{budget}: {_said(claim, shown, notes)}"
            alone = alone or Verdict(task, claim, "not run", said, budget, None, runs, shown, notes)
            continue
        better = next((metric.better for metric in metrics if metric.name == claim.metric), "higher")
        outcome, note = _compared(claim, found, better) if claim.than else _valued(claim, found[0], better)
        notes = [note, *older] if note else older
        said = _said(claim, shown, notes)
        if budget == claim.budget:
            return Verdict(task, claim, outcome, said, budget, None, runs, shown, notes)
        elsewhere: Outcome = "at another budget only"
        return Verdict(task, claim, elsewhere, f"{budget}: {said}", budget, outcome, runs, shown, notes)
    return alone or Verdict(
        task, claim, "not run", f"it needs {claim.needs}" if claim.needs else "no row for it"
    )


def _names(claim: Claim) -> list[str]:
    return [side.metric or claim.metric for side in (claim.of, claim.than) if side]


def _rows(claim: Claim, rows: Sequence[Row], protocol: str) -> list[Row]:
    """The row, or the two rows, that a claim is about; none where one is missing.

    Two rows may differ only in what the claim says of each: they share the version of the task, the data, and
    every option that neither side names. Of several choices, one with enough seeds for a verdict comes first,
    then one of the newest version, then one with the most seeds.
    """
    sides = [side for side in (claim.of, claim.than) if side]
    fitting = [[row for row in rows if _fits(side, claim, row, protocol)] for side in sides]
    named = {name for side in sides for name in side.options}

    def shared(row: Row) -> tuple[Any, ...]:
        rest = {name: value for name, value in row.options.items() if name not in named}
        return (row.task_version, row.source, row.data, rest)

    def standing(chosen: Iterable[Row]) -> tuple[bool, int, int]:
        found = list(chosen)
        seeds = min(len(by_seed(row, name)) for row, name in zip(found, _names(claim), strict=True))
        return (seeds >= 2, found[0].task_version, seeds)

    choices = [found for found in itertools.product(*fitting) if shared(found[0]) == shared(found[-1])]
    return list(max(choices, key=standing)) if choices else []


def _fits(side: Side, claim: Claim, row: Row, protocol: str) -> bool:
    """Whether a row may be that side of a claim."""
    sampler = "" if row.sampler in (None, "generator") else row.sampler
    wanted = "" if side.sampler == "generator" else side.sampler
    return (
        full_name(row.model, row.variant) == side.model
        and sampler == wanted
        and row.protocol == (side.protocol or protocol)
        and dict(row.overrides) == dict(side.overrides)
        and claim.data in ("", row.source)
        and all(row.options.get(key) == value for key, value in side.options.items())
        and (side.metric or claim.metric) in row.metrics
    )


def _shown(claim: Claim, found: Sequence[Row]) -> list[Shown]:
    """The rows of a claim, each with what tells it from the other."""
    names = _names(claim)
    called = [_called(row) for row in found]
    facts = [
        {"protocol": row.protocol, **row.options, "metric": name}
        for row, name in zip(found, names, strict=True)
    ]
    made = []
    for row, name, who, own in zip(found, names, called, facts, strict=True):
        other = facts[1 - facts.index(own)] if len(facts) > 1 and len(set(called)) == 1 else own
        apart = ", ".join(f"{key} {value}" for key, value in own.items() if other.get(key) != value)
        cell = row.metrics[name].interval
        made.append(Shown(who, apart, spelled(cell.mean, cell.half_width), row.runs))
    return made


def _called(row: Row) -> str:
    """A row by its model, variant, sampler and settings; the plain sampler goes without saying."""
    return row.label.replace("@generator", "")


def _said(claim: Claim, shown: Sequence[Shown], notes: Sequence[str]) -> str:
    """The numbers in words, ours and the paper's or whose is whose, and the notes on them."""
    if claim.value is not None:
        numbers = f"{shown[0].value} against the paper's {claim.value:g}"
    else:
        numbers = " against ".join(
            f"{one.who} ({one.apart}) {one.value}" if one.apart else f"{one.who} {one.value}" for one in shown
        )
    return f"{numbers}: {'; '.join(notes)}" if notes else numbers


def _valued(claim: Claim, row: Row, better: str) -> tuple[Outcome, str]:
    """The outcome, and what is to be said of it beside the numbers."""
    assert claim.value is not None
    cell = row.metrics[claim.metric].interval
    assert cell.low is not None and cell.high is not None, "of two seeds at least"
    # An interval can have zero width: the same count at each seed.
    least, most = claim.value - claim.plus_minus, claim.value + claim.plus_minus
    if cell.low > most or cell.high < least:
        return ("exceeded" if (cell.low > most) == (better == "higher") else "contradicted"), ""
    if (cell.half_width or 0.0) > max(claim.plus_minus, WIDEST * abs(claim.value)):
        return "not reproduced", "too wide an interval to confirm it"
    return "reproduced", ""


def _compared(claim: Claim, found: Sequence[Row], better: str) -> tuple[Outcome, str]:
    one, other = (by_seed(row, name) for row, name in zip(found, _names(claim), strict=True))
    means = [row.metrics[name].interval.mean for row, name in zip(found, _names(claim), strict=True)]
    p = stats.p_value(one, other)
    if p is None or p >= stats.ALPHA:
        return "not reproduced", "a test cannot tell them apart"
    right = (means[0] > means[1]) == (better == "higher")
    return ("reproduced" if right else "contradicted"), ""


def counted(verdicts: Iterable[Verdict]) -> dict[Outcome, int]:
    """The number of claims per outcome, in the order of `OUTCOMES`."""
    found = [verdict.outcome for verdict in verdicts]
    return {outcome: found.count(outcome) for outcome in OUTCOMES}
