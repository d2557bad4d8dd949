"""Fills the numbers of rows into Markdown. The board's code writes what stands between two comments.

There are three comments, each made of words `key=value`:

    <!--with task=kdd99 budget=cpu-->                       holds for those that follow and name no task
    <!--value model=meg metric=f1-->0.936 ± 0.012<!--end-->
    <!--table models=meg,vae metrics=f1,auroc figure=kdd99-methods-->
    | ... |
    <!--end-->

A code host shows the numbers but not the comments. `scripts/findings` writes the numbers anew. A test fails
when they are stale. The site fills them from the rows that it was built of.

Keys that choose the row: `task`, `model`, `budget` (cpu), `protocol` (the task's first), `source`, `score`,
and any option of the task or changed setting by its name. A row matches only if it has no other changed
settings than those named. A model is "NAME" or "NAME:VARIANT", with "@SAMPLER" and "+SETTING=VALUE" behind
it. `metric` names the metric, and `show` says how to show it:

- interval (the default): mean ± half of the 95 % interval; mean; range; n
- seeds: the value of each
- published: the paper's number
- difference: mean minus that of the model `against`, paired over the common seeds
- wins: on how many data sets (parts) the mean is better than that of the model `against`, as "9 of 40"

A table has `models` and `metrics`, separated by commas. "~what_it_is_called" behind a model names its line.
`heads` names the columns. Both write _ for a space. `published=yes` adds the papers' numbers, `figure=NAME`
a chart of the first metric, and `log=yes` gives this chart a logarithmic axis.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ebbench.site import wording
from ebbench.site.views import TaskView

from ebbench.board import across, labels
from ebbench.board.ranking import by_seed
from ebbench.board.row import Row
from ebbench.board.stats import interval
from ebbench.contract import Metric
from ebbench.errors import UsageError
from ebbench.record.schema import Result

COMMENT = re.compile(
    r"<!--with\b([^>]*)-->|<!--(value|table)\b([^>]*)-->(?:((?:(?!<!--).)*)<!--end-->)?", re.S
)
# The keys of a comment that name no option or setting of a row.
_KEYS = [
    "task",
    "model",
    "models",
    "metric",
    "metrics",
    "heads",
    "budget",
    "protocol",
    "source",
    "score",
    "show",
    "against",
    "figure",
    "log",
    "published",
]


@dataclass(frozen=True)
class Board:
    """The rows of the tasks, and the metrics and protocols that each task declares."""

    rows: Mapping[str, Sequence[Row]]
    metrics: Mapping[str, Sequence[Metric]]
    protocols: Mapping[str, Sequence[str]]
    # By task and run id.
    results: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Sequence[TaskView]) -> Board:
        """The board of a site's tasks. It leaves out tasks whose protocols are not known."""
        known = [task for task in tasks if task.known.protocols]
        return cls(
            {task.name: task.rows for task in known},
            {task.name: task.metrics for task in known},
            {task.name: list(task.known.protocols) for task in known},
            {task.name: task.results for task in known},
        )


@dataclass(frozen=True)
class Figure:
    """A chart that a table asks for: its name, its metric, and what each line shows."""

    name: str
    metric: Metric
    lines: Sequence[tuple[str, Row]]
    log: bool


@dataclass
class Filled:
    """A text with its numbers, the rows that they came from, and the figures that belong to it."""

    text: str
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def filled(text: str, board: Board, where: str) -> Filled:
    """Return `text` with each number as the rows of `board` have it.

    Raises UsageError, which names `where`, for a comment that no row or more than one row matches.
    """
    made = Filled("")
    given: dict[str, str] = {}

    def one(found: re.Match[str]) -> str:
        if found[1] is not None:
            given.clear()
            given.update(_words(found[1], where))
            return found[0]
        if found[4] is None:
            raise _wrong(f"{found[0]} has no <!--end--> of its own", where)
        write = _value if found[2] == "value" else _table
        words = _words(found[3], where)
        new = write(words if "task" in words else given | words, board, where, made)
        return f"<!--{found[2]}{found[3]}-->{new}<!--end-->"

    made.text = COMMENT.sub(one, text)
    return made


def without_comments(text: str) -> str:
    """Return the text without the comments, and without the lines that hold nothing else."""
    comment = r"<!--(?:with|value|table|end|list)\b[^>]*-->"
    return re.sub(comment, "", re.sub(rf"^(?:{comment})+\n", "", text, flags=re.M))


def _words(words: str, where: str) -> dict[str, str]:
    pairs = [word.partition("=") for word in words.split()]
    if bad := [key for key, equals, value in pairs if not equals or not value]:
        raise _wrong(f"'{bad[0]}' is no key=value", where)
    return {key: value for key, _, value in pairs}


def _row(asked: Mapping[str, str], model: str, board: Board, where: str) -> Row:
    """The one row that is asked for, of the newest task version that has one."""
    task = asked.get("task", "")
    if task not in board.rows:
        raise _wrong(f"there is no row of a task '{task}'", where)
    model, *more = model.partition("~")[0].split("+")
    name, _, sampler = model.partition("@")
    settings = {key: value for key, value in asked.items() if key not in _KEYS}
    settings |= dict(pair.split("=", 1) for pair in more)
    budget, protocol = asked.get("budget", "cpu"), asked.get("protocol", next(iter(board.protocols[task])))

    def fits(row: Row) -> bool:
        held = {**row.options, **row.overrides}
        return (
            labels.full_name(row.model, row.variant) == name
            and (row.sampler or "generator") == (sampler or "generator")
            and (row.budget, row.protocol) == (budget, protocol)
            and asked.get("source", row.source) == row.source
            and asked.get("score", row.score) == row.score
            and set(row.overrides) <= set(settings)
            and all(
                key in held and labels.settings({"": held[key]}) == f"={v}" for key, v in settings.items()
            )
        )

    found = [row for row in board.rows[task] if not row.block and fits(row)]
    found = [row for row in found if row.task_version == max(r.task_version for r in found)]
    if len(found) != 1:
        what = " ".join(
            [model, *more, *(f"{k}={v}" for k, v in asked.items() if k not in ("models", "figure"))]
        )
        several = f"{len(found)} rows answer" if found else "no row answers"
        raise _wrong(f"{several}: {what}", where)
    return found[0]


def _metric(row: Row, name: str, board: Board, where: str) -> Metric:
    if name not in row.metrics:
        raise _wrong(f"the row {row.label} of {row.task} has no metric '{name}'", where)
    known = {metric.name: metric for metric in board.metrics[row.task]}
    return known.get(name) or Metric(name=name, unit="", better="neither", doc="")


def _value(asked: Mapping[str, str], board: Board, where: str, made: Filled) -> str:
    row = _row(asked, asked.get("model", ""), board, where)
    made.rows.append(row)
    name = asked.get("metric", "")
    metric = _metric(row, name, board, where)
    if asked.get("show") == "wins":
        other = _row(asked, asked.get("against", ""), board, where)
        made.rows.append(other)
        return _wins(row, other, metric, board, where)
    if asked.get("show") == "difference":
        other = _row(asked, asked.get("against", ""), board, where)
        made.rows.append(other)
        one, two = by_seed(row, name), by_seed(other, name)
        common = sorted(one.keys() & two.keys())
        if not common:
            raise _wrong(f"{row.label} and {other.label} of {row.task} have no seed in common", where)
        found = interval([one[seed] - two[seed] for seed in common])
        return ("+" if found.mean > 0 else "") + _number(found.mean, found.half_width)
    return _shown(row, name, asked.get("show", "interval"), where)


def _wins(row: Row, other: Row, metric: Metric, board: Board, where: str) -> str:
    # Not by their labels, which two rows of different budgets share.
    sides = {"row": row, "other": other}
    named = {side: across.by_set(one, board.results[one.task], metric.name) for side, one in sides.items()}
    found = across.compared(metric.name, "higher" if metric.better == "higher" else "lower", named)
    if found is None:
        raise _wrong(f"{row.label} and {other.label} have too few data sets in common", where)
    (pair,) = found.pairs
    won = pair.wins if pair.a == "row" else pair.losses
    return f"{won} of {len(found.sets)}"


def _shown(row: Row, name: str, show: str, where: str) -> str:
    found = row.metrics[name].interval
    values = list(by_seed(row, name).values())
    ways: dict[str, Callable[[], str]] = {
        "interval": lambda: _number(found.mean, found.half_width),
        "mean": lambda: _number(found.mean),
        "n": lambda: str(len(values)),
        "seeds": lambda: ", ".join(f"{value:.4g}" for value in values),
        "range": lambda: " to ".join(dict.fromkeys(f"{v:.3g}" for v in (min(values), max(values)))),
        "published": lambda: _published(row, name, where),
    }
    if show not in ways:
        known = ", ".join([*ways, "difference", "wins"])
        raise _wrong(f"'{show}' is no way to show a number; there are {known}", where)
    return ways[show]()


def _number(mean: float, half_width: float | None = None) -> str:
    """A number as tables show it, with a comma at thousands.

    Without an interval it has about three digits, and at most four decimals.
    """
    decimals = min(4, max(0, 2 - math.floor(math.log10(abs(mean))))) if mean != round(mean) else 0
    text = f"{mean:.{decimals}f}" if half_width is None else labels.spelled(mean, half_width)
    text = re.sub(r"(?<![\d.])\d{4,}", lambda whole: f"{int(whole[0]):,}", text)
    # A zero has no sign.
    return re.sub(r"^-(?=0(?:\.0+)?(?: |$))", "", text)


def _published(row: Row, name: str, where: str) -> str:
    if name not in row.published:
        raise _wrong(f"no paper has {name} of {row.label} on {row.task}", where)
    found = row.published[name]
    return labels.spelled_published(found.value, found.plus_minus, found.confidence)


def _table(asked: Mapping[str, str], board: Board, where: str, made: Filled) -> str:
    """A Markdown table of methods, sorted by the first metric, the best first. Controls are marked."""
    names = asked.get("metrics", asked.get("metric", "")).split(",")
    lines = [(one, _row(asked, one, board, where)) for one in asked.get("models", "").split(",")]
    rows = [row for _, row in lines]
    # Not each row has each metric: what trains in one step has no last ten epochs.
    having = [next((row for row in rows if name in row.metrics), rows[0]) for name in names]
    metrics = [_metric(row, name, board, where) for row, name in zip(having, names, strict=True)]
    ordered = wording.better(metrics[0], rows)
    made.rows += ordered
    called = {id(row): _called(row, one) for one, row in lines}
    if "figure" in asked:
        made.figures.append(
            Figure(asked["figure"], metrics[0], [(called[id(r)], r) for r in ordered], "log" in asked)
        )
    named = asked.get("heads", "").replace("_", " ").split(",")
    heads = named if len(named) == len(metrics) > 0 and named[0] else [_head(metric) for metric in metrics]
    published = ["published" in asked and any(name in row.published for row in rows) for name in names]
    text = [
        "",
        "| method | seeds |"
        + "".join(f" {h} |{' published |' * p}" for h, p in zip(heads, published, strict=True)),
    ]
    text.append("|---|---:|" + "".join("---:|" * (1 + p) for p in published))
    for row in ordered:
        cells = [called[id(row)], str(len(row.seeds))]
        for name, has in zip(names, published, strict=True):
            cells.append(_shown(row, name, "interval", where) if name in row.metrics else "")
            cells += [_published(row, name, where) if name in row.published else ""] * has
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join([*text, ""])


def _head(metric: Metric) -> str:
    unit = "" if metric.unit in ("", metric.name, "share") else f", {metric.unit}"
    return wording.metric(metric) + unit


def _called(row: Row, asked: str) -> str:
    """The name of a row's line: its title and the settings asked for beside it. Controls are marked."""
    if "~" in asked:
        return asked.partition("~")[2].replace("_", " ")
    name, *settings = asked.split("+")
    base = dict(pair.split("=", 1) for pair in settings).get("base", "")
    parts = [f"over {base}"] * bool(base) + [name.partition("@")[2]] * ("@" in name)
    parts = [part for part in parts if part != row.model]
    title = ", ".join([wording.short(row), *parts])
    return f"{title} (control)" if row.kind == "control" and row.variant != "untrained" else title


def _wrong(what: str, where: str) -> UsageError:
    return UsageError(what, where=where, expected="a comment that one row answers", fix="see site/filled.py")
