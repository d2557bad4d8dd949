"""What was submitted, against every ranked row of its task: one table a row, by the task's first metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ebbench.site.views import MethodView, TaskView

from ebbench.board import labels
from ebbench.board.compare import Compared, compare, side
from ebbench.board.row import Row
from ebbench.contract import Metric

# What the two sides are called in a comparison: rows of two budgets may share their label.
OURS, THEIRS = "this one", "the other"


@dataclass(frozen=True)
class Line:
    """A ranked row, and how the submission compares with it, as text."""

    row: Row
    compared: Compared

    @property
    def label(self) -> str:
        """What the row is called."""
        return labels.label(self.row)

    @property
    def difference(self) -> str:
        """The submission's mean less the row's, with half the width of its interval."""
        low, high = self.compared.low, self.compared.high
        half = None if low is None or high is None else (high - low) / 2
        return labels.spelled(self.compared.difference, half)

    @property
    def test(self) -> str:
        """Which test it is, and over what."""
        n = len(self.compared.seeds)
        if self.compared.p is None:
            return "none, for want of seeds"
        return f"paired, {n} seeds" if n > 1 else "Welch"

    @property
    def p(self) -> str:
        """The p-value, adjusted over the table."""
        p = self.compared.adjusted
        return "" if p is None else "< 0.001" if p < 1e-3 else f"{p:.3f}"

    @property
    def verdict(self) -> str:
        """Which of the two is better."""
        said = {"tie": "a tie", "untested": "not tested", "": "neither direction is better"}
        return said.get(self.compared.verdict, self.compared.verdict)


@dataclass(frozen=True)
class Table:
    """One row of a submission and its comparisons, in the order of the board."""

    task: TaskView
    row: Row
    metric: Metric
    lines: Sequence[Line]

    @property
    def label(self) -> str:
        """What the row is called."""
        return labels.label(self.row)


def of(method: MethodView) -> Iterator[Table]:
    """A table for each row of a method that came with a bundle, where there is a ranked row to compare with.

    The same is: the task, its version, options and data, and the protocol. Budgets may differ, and are shown.
    """
    for task, rows in method.tasks:
        for row in rows:
            if all(result.verification is None for result in task.results_of(row)):
                continue
            metric = next((one for one in task.primary if one.name in row.metrics), None)
            if metric is None:
                continue
            rivals = [
                other
                for other in task.rows
                if other is not row
                and other.rank is not None
                and other.group()[:-1] == row.group()[:-1]
                and metric.name in other.metrics
            ]
            ours = replace(side(row), label=OURS)
            compared = compare(
                ((other.budget, ours, replace(side(other), label=THEIRS)) for other in rivals), [metric]
            )
            if compared:
                yield Table(task, row, metric, [Line(*pair) for pair in zip(rivals, compared, strict=True)])
