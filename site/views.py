"""What a board is of: each task and each method with its card, its rows and its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ebbench.site.known import Known

from ebbench.board import export, labels
from ebbench.board import table as tables
from ebbench.board.currency import Today
from ebbench.board.names import Names
from ebbench.board.row import Cell, Reference, Row
from ebbench.board.tiers import TIERS
from ebbench.contract import Metric, Published
from ebbench.plugins import cards
from ebbench.record.resultfiles import Problem
from ebbench.record.schema import Result

# Columns of a task's table beside the primary metrics; more is read by nobody.
MOST_METRICS = 6
# From what is most worth showing to the least.
BUDGETS = ("paper", "cpu", "smoke")


@dataclass(frozen=True)
class TaskView:
    """A task with its rows. `results` are by run id; `groups` are rows that may be compared, with a title."""

    name: str
    known: Known
    rows: Sequence[Row]
    results: Mapping[str, Result]
    # The table as files: their text by ending.
    downloads: Mapping[str, str] = field(default_factory=dict)
    # Whether it came with a submission: it has no page of its own.
    own: bool = False

    @property
    def title(self) -> str:
        """The card's title, else the name."""
        return self.known.card.title if self.known.card else self.name

    @property
    def card(self) -> cards.TaskCard | None:
        """The card, where it can be read."""
        card: cards.TaskCard | None = self.known.card
        return card

    @property
    def metrics(self) -> Sequence[Metric]:
        """The metrics that the task declares; none where its code is not here."""
        return self.known.metrics

    @property
    def published(self) -> Sequence[Published]:
        """The published rows that the task declares."""
        return self.known.published

    @cached_property
    def groups(self) -> list[tuple[str, list[Row]]]:
        """The rows by what they share, what stands for the task first."""
        return sorted(labels.groups(self.rows), key=lambda titled: self._standing(titled[1]))

    def _standing(self, group: Sequence[Row]) -> tuple[int, ...]:
        """The sort key of a group: the group that stands for the task has the least.

        The criteria, in order: what may be ranked, the protocol (the default first), the budget (the card's
        first), the task's first metric, the task's version (the newest that compares two models), the number
        of rows at declared settings, the number of rows, the number of options.
        """
        first = group[0]
        # Groups of results that are only claimed come last, whatever they claim.
        block = TIERS[::-1].index(first.tier) if first.block else -1
        budgets = [*([self.card.headline] if self.card else []), *BUDGETS]
        names = [metric.name for metric in self.metrics]
        protocols = list(self.known.protocols)
        protocol = protocols.index(first.protocol) if first.protocol in protocols else 9
        budget = budgets.index(first.budget) if first.budget in budgets else len(budgets)
        metric = min((names.index(name) for name in first.metrics if name in names), default=len(names))
        models = [row for row in group if row.kind == "model"]
        declared = [row.model for row in models if not row.overrides]
        alone = len(set(declared)) < 2
        return (
            block,
            protocol,
            budget,
            metric,
            alone,
            -first.task_version,
            -len(declared),
            -len(models),
            len(first.options),
        )

    @cached_property
    def shown(self) -> list[Metric]:
        """The metrics of the table: primary ones, those that were published, then the first others."""
        return _shown(self.rows, self.metrics)

    @property
    def primary(self) -> list[Metric]:
        """The primary metrics that were scored."""
        return [metric for metric in self.shown if metric.primary] or self.shown[:1]

    @cached_property
    def headline(self) -> list[Row]:
        """The group that stands for the task; none where no row may be ranked."""
        first = self.groups[0][1] if self.rows else []
        return first if first and not first[0].block else []

    @cached_property
    def setting(self) -> str:
        """The options of the headline group that other rows of the task have otherwise, as `name=value`."""
        held = self.headline[0].options if self.headline else {}
        apart = {name for row in self.rows for name in held if row.options.get(name) != held[name]}
        return labels.settings({name: held[name] for name in apart if held[name] != ""})

    @property
    def refused(self) -> dict[str, list[str]]:
        """Why each result of an invalid model's row is not ranked, by run id."""
        return {
            run: [note for note in row.notes if note.startswith("not ranked")]
            for row in self.rows
            if row.invalid and row.kind == "model"
            for run in row.runs
        }

    def results_of(self, row: Row) -> list[Result]:
        """The results of a row, by seed."""
        return [self.results[run] for run in row.runs]


@dataclass(frozen=True)
class MethodView:
    """A method with its rows on every task."""

    name: str
    title: str
    known: Known
    tasks: Sequence[tuple[TaskView, list[Row]]]

    @property
    def card(self) -> cards.ModelCard | None:
        """The card, where it can be read."""
        card: cards.ModelCard | None = self.known.card
        return card

    @property
    def families(self) -> Sequence[str]:
        """The kinds of method that it belongs to, as its card says."""
        return self.card.families if self.card else ()

    @property
    def control(self) -> bool:
        """Whether all of it is a control."""
        return bool(self.card and self.card.kind == "control")


def task(
    name: str, files: Mapping[Path, Result], known: Known, today: Today, names: Names, own: str = ""
) -> tuple[TaskView, list[Problem]]:
    """The view of a task, and the results that no table can hold.

    `own` is the hash of a task that came with a submission, "" for others.
    """
    try:
        rows, downloads = _rows(list(files.values()), name, known, today, names, own)
        problems: list[Problem] = []
    except Exception:
        files, problems = _sound(files, name, known, today, names, own)
        rows, downloads = _rows(list(files.values()), name, known, today, names, own)
    results = {one.run_id: one for one in files.values()}
    return TaskView(name, known, rows, results, downloads, bool(own)), problems


def _rows(
    results: Sequence[Result], name: str, known: Known, today: Today, names: Names, own: str
) -> tuple[list[Row], dict[str, str]]:
    """The rows of a task, each of which can be shown, and the files that hold them."""
    rows = tables.rows(
        results,
        name,
        metrics=known.metrics,
        published=known.published,
        limits=known.limits,
        names=names,
        today=today,
        own=own,
    )
    if not rows:
        return rows, {}
    return rows, {
        "csv": export.as_csv(rows, known.metrics),
        "json": export.as_json(rows, known.metrics),
        "tex": export.as_latex(rows, _shown(rows, known.metrics)),
    }


def _sound(
    files: Mapping[Path, Result], name: str, known: Known, today: Today, names: Names, own: str
) -> tuple[dict[Path, Result], list[Problem]]:
    """The results whose rows can be made, each row tried alone, and what is wrong with the others."""
    rows: dict[str, dict[Path, Result]] = {}
    for path, result in files.items():
        rows.setdefault(result.row_key(), {})[path] = result
    sound: dict[Path, Result] = {}
    problems = []
    for row in rows.values():
        try:
            _rows(list(row.values()), name, known, today, names, own)
            sound |= row
        except Exception as error:
            reason = f"no table can hold it: {type(error).__name__}: {error}"
            problems += [Problem(path, reason) for path in row]
    return sound, problems


def _shown(rows: Sequence[Row], declared: Sequence[Metric]) -> list[Metric]:
    scored = {name for row in rows for name in row.metrics}
    of_papers = {name for row in rows for name in row.published}
    metrics = [metric for metric in declared if metric.name in scored]
    if not metrics:
        return [
            Metric(name=name, unit="", better="neither", doc="") for name in sorted(scored)[:MOST_METRICS]
        ]
    first = [m for m in metrics if m.primary or m.name in of_papers]
    others = [m for m in metrics if m not in first]
    return [*first, *others[: max(0, MOST_METRICS - len(first))]]


def methods(
    tasks: Sequence[TaskView], known: Mapping[str, Known], results: Sequence[Result]
) -> list[MethodView]:
    """The view of every method, models before controls, by title."""
    titles = {result.model.name: result.model.title for result in results}
    made = []
    for name, one in known.items():
        rows = [(task, [row for row in task.rows if row.model == name]) for task in tasks]
        title = one.card.title if one.card else titles.get(name) or name
        made.append(MethodView(name, title, one, [(task, found) for task, found in rows if found]))
    return sorted(made, key=lambda m: (m.control, not m.tasks, m.title.lower()))


def difference(cell: Cell | None, reference: Reference | None) -> float | None:
    """Our mean less the published value."""
    return None if cell is None or reference is None else cell.interval.mean - reference.value


def commit(row: Row) -> str:
    """The commit of a row's trainings, in short; of several the first one's."""
    return row.commits[0][:7] if row.commits else ""


def code(row: Row) -> str:
    """The mark of a row that a run of today would not make again; "" for others."""
    return row.code if row.code == "older code" else ""


def spelled(cell: Cell) -> str:
    """Mean and half-width, as the command line has it."""
    return labels.spelled(cell.interval.mean, cell.interval.half_width)


def cost(results: Sequence[Result]) -> dict[str, Any]:
    """The average cost of a row's trainings: seconds, hardware, parameters, samples per second."""
    training = [result.training for result in results]
    trained_on = [result.training.provenance or result.provenance for result in results]
    rates = [r.scoring.samples_per_second for r in results if r.scoring.samples_per_second]
    first = trained_on[0]
    hardware = first.gpu.name if first.gpu else f"{first.cpu.model}, {first.cpu.threads} threads"
    shared = any(machine.gpu is not None and machine.gpu.shared for machine in trained_on)
    hardware += ", shared" if shared else ""
    return {
        "seconds": None if shared else sum(t.seconds for t in training) / len(training),
        "hardware": hardware.replace(", 1 threads", ", 1 thread"),
        "parameters": max(t.parameters for t in training),
        "rate": sum(rates) / len(rates) if rates else None,
    }


def number(value: float | None) -> str:
    """A number in few digits."""
    return "" if value is None else f"{value:.6g}"


def hours(seconds: float | None) -> str:
    """A duration in words; nothing where it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
