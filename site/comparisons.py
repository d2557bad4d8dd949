"""Tables that compare a submitted row with every ranked row of its task, by its first primary metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ebbench.site.views import MethodView, TaskView

from ebbench.board import labels
from ebbench.board.compare import Compared, compare, side
from ebbench.board.row import Row
from ebbench.contract import Metric

# The names of the two sides of a comparison. Their labels will not do: rows of two budgets may share one.
OURS, THEIRS = "this one", "the other"


@dataclass(frozen=True)
class Line:
    """A ranked row and the submission's comparison with it, as text."""

    row: Row
    compared: Compared

    @property
    def label(self) -> str:
        """The label of the ranked row."""
        return labels.label(self.row)

    @property
    def difference(self) -> str:
        """The submission's mean minus the row's, with half of its interval."""
        low, high = self.compared.low, self.compared.high
        half = None if low is None or high is None else (high - low) / 2
        return labels.spelled(self.compared.difference, half)

    @property
    def test(self) -> str:
        """The test, and over how many seeds it is paired."""
        n = len(self.compared.seeds)
        if self.compared.p is None:
            return "none, for want of seeds"
        return f"paired, {n} seeds" if n > 1 else "Welch"

    @property
    def p(self) -> str:
        """The p-value, adjusted for all tests of the table; "" where nothing was tested."""
        p = self.compared.adjusted
        return "" if p is None else "< 0.001" if p < 1e-3 else f"{p:.3f}"

    @property
    def verdict(self) -> str:
        """Which of the two is better, in words."""
        said = {"tie": "a tie", "untested": "not tested", "": "neither direction is better"}
        return said.get(self.compared.verdict, self.compared.verdict)


@dataclass(frozen=True)
class Table:
    """A row of a submission and its comparisons, in the order of the board."""

    task: TaskView
    row: Row
    metric: Metric
    lines: Sequence[Line]

    @property
    def label(self) -> str:
        """The label of the submitted row."""
        return labels.label(self.row)


def of(method: MethodView) -> Iterator[Table]:
    """Yield a table for each submitted row of a method that has a ranked row to compare with.

    Both rows have the same task, task version, options, data and protocol. Their budgets may differ, so the
    table shows them.
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
