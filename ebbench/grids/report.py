"""Report a grid: histograms, shares above a threshold, heat maps, best samples, and a page of numbers."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ebbench.board.stats import Interval, share, share_difference
from ebbench.errors import UsageError
from ebbench.grids.runs import Row, current, results_of
from ebbench.grids.spec import Grid
from ebbench.storage.runstore import write

BINS = 24
# The number of best runs of each method whose samples are shown.
BEST = 3


class Report:
    """Counts and draws the rows of a grid, and writes the page and pictures to the folder `out`.

    Raises UsageError if the runs do not have the grid's metric, which may depend on the task's options.
    """

    def __init__(self, grid: Grid, rows: Sequence[Row], out: Path) -> None:
        self.grid, self.out = grid, out
        kept = current(grid, rows)
        metric = grid.metric.name
        for row in kept:
            if row.outcome == "done" and metric not in row.metrics:
                raise UsageError(
                    f"the runs of this grid have no '{metric}'",
                    where=f"metric in the grid {grid.name}",
                    expected="one of " + ", ".join(sorted(row.metrics)),
                    fix="name another metric; finished runs are not made again",
                )
        self.left_out = len(rows) - len(kept)
        rows = kept
        self.names = [m.name for m in grid.methods if any(row.method == m.name for row in rows)]
        self.rows = {name: [row for row in rows if row.method == name] for name in self.names}
        self.lower = grid.metric.better == "lower"

    def make(self) -> list[Path]:
        """Write the page and the pictures, and return their paths. Without values there are no pictures."""
        made = [self._page()]
        if not any(self.values(name) for name in self.names):
            return made
        made += [self._histograms(), self._shares()]
        made += [self._by_label(label) for label in self.labels()]
        for picture in (self._heat(), self._best()):
            made += [picture] if picture else []
        return made

    # --- numbers

    def values(self, name: str, rows: Iterable[Row] | None = None) -> list[float]:
        """The metric of each run of a method that did not diverge; of `rows` if they are given."""
        found = self.rows[name] if rows is None else rows
        return [row.metrics[self.grid.metric.name] for row in found if row.outcome == "done"]

    def reaching(self, name: str, threshold: float, *, valid: bool = False) -> int:
        """The number of runs that are at least as good as a threshold. A run that diverged does not count.

        With `valid`, a run must also pass the task's gates.
        """
        return sum(
            self._reaches(row, threshold) and (not valid or self.valid(row)) for row in self.rows[name]
        )

    def valid(self, row: Row) -> bool:
        """Whether a run passes the gates of its task. A run that does not would have no rank."""
        return all(row.metrics.get(gate, 0.0) >= 1 for gate in self.grid.gates)

    def _reaches(self, row: Row, threshold: float) -> bool:
        if row.outcome != "done":
            return False
        value = row.metrics[self.grid.metric.name]
        return value <= threshold if self.lower else value >= threshold

    def best(self, name: str) -> list[Row]:
        """The best runs of a method, at most `BEST`. Runs that pass the gates come first."""
        done = [row for row in self.rows[name] if row.outcome == "done"]
        sign = 1 if self.lower else -1
        return sorted(done, key=lambda r: (not self.valid(r), sign * r.metrics[self.grid.metric.name]))[:BEST]

    def labels(self) -> list[str]:
        """The names of the axes, each once, in the order of the grid."""
        return list(dict.fromkeys(self.grid.label(axis) for m in self.grid.methods for axis in m.axes))

    def at(self, row: Row, label: str) -> Any:
        """The value of a run on the axis of that name; None if its method does not have the axis."""
        return next((value for axis, value in row.axes.items() if self.grid.label(axis) == label), None)

    def places(self, label: str) -> list[Any]:
        """The values that the grid has on the axis of that name."""
        found = [
            value
            for method in self.grid.methods
            for axis, values in method.axes.items()
            if self.grid.label(axis) == label
            for value in values
        ]
        return list({repr(value): value for value in found}.values())

    # --- the page

    def _page(self) -> Path:
        metric, threshold = self.grid.metric, self.grid.threshold
        lines = [
            f"# {self.grid.name}",
            "",
            f"Task {self.grid.task}, budget {self.grid.budget}; {metric.name}: {metric.doc}.",
            "",
            "| method | settings | runs | diverged | median | best | setting of the best |",
            "|---|---|---|---|---|---|---|",
        ]
        for name in self.names:
            rows, values = self.rows[name], self.values(name)
            size = next(m.size for m in self.grid.methods if m.name == name)
            diverged = len(rows) - len(values)
            said = " | ".join(
                [f"{np.median(values):.4g}", *self._best_in_words(name)] if values else ["", "", ""]
            )
            lines.append(f"| {name} | {size} | {len(rows)} | {diverged} | {said} |")
        lines += self._warnings()
        if threshold is not None and self.names:
            lines += ["", *self._shares_in_words(threshold)]
        path = self.out / "summary.md"
        write(path, ("\n".join(lines) + "\n").encode())
        return path

    def _warnings(self) -> list[str]:
        """Warnings to the reader about rows that cannot be compared or are left out."""
        lines = []
        for name in self.names:
            codes = {(row.model_code, row.task_code) for row in self.rows[name]}
            if len(codes) > 1:
                lines += ["", f"The runs of {name} are of {len(codes)} versions of the code: run them again."]
        if self.left_out:
            lines += ["", f"{self.left_out} rows of settings that the grid no longer has are left out."]
        return lines

    def _best_in_words(self, name: str) -> list[str]:
        row = self.best(name)[0]
        axes = next(method.axes for method in self.grid.methods if method.name == name)
        setting = ", ".join(f"{self.grid.label(axis)} {row.axes[axis]}" for axis in axes)
        return [f"{row.metrics[self.grid.metric.name]:.4g}", setting]

    def _shares_in_words(self, threshold: float) -> list[str]:
        word = "at most" if self.lower else "at least"
        lines = [
            f"Share of the runs whose {self.grid.metric.name} is {word} {threshold:g}, with Wilson's",
            "interval of 95 %. A run that diverged is none of them. A run is *valid* that passes the gates",
            "of its task too.",
            "",
            "| method | share | valid |",
            "|---|---|---|",
        ]
        counts = {name: (self.reaching(name, threshold), len(self.rows[name])) for name in self.names}
        for name, (reached, n) in counts.items():
            valid = self.reaching(name, threshold, valid=True)
            lines.append(f"| {name} | {_spelled(share(reached, n))} | {_spelled(share(valid, n))} |")
        if len(self.names) > 1:
            lines += ["", "Differences of the shares, with Newcombe's interval of 95 %:", ""]
        for one, other in itertools.combinations(self.names, 2):
            found = share_difference(counts[one], counts[other])
            clear = (found.low or 0) > 0 or (found.high or 0) < 0
            verdict = "they differ" if clear else "no difference is shown"
            lines.append(f"- {one} less {other}: {_spelled(found)}: {verdict}")
        return lines

    # --- the pictures

    def _edges(self) -> list[float]:
        together = [value for name in self.names for value in self.values(name)]
        low, high = min(together), max(together)
        return list(np.linspace(low, high if high > low else low + 1, BINS + 1))

    def _histograms(self) -> Path:
        figure, axes = _figure(len(self.names), 1, width=6.4, height=1.7)
        for name, ax in zip(self.names, axes[:, 0], strict=True):
            self._histogram(ax, name, self.rows[name])
            ax.set_ylabel("share of runs")
        axes[-1, 0].set_xlabel(self._called())
        return self._save(figure, "histograms")

    def _histogram(self, ax: Any, name: str, rows: Sequence[Row], title: str = "") -> None:
        values = self.values(name, rows)
        if values:
            weights = [1 / len(rows)] * len(values)
            colour = f"C{self.names.index(name)}"
            ax.hist(values, self._edges(), weights=weights, color=colour)
        lost = len(rows) - len(values)
        said = f"{title or name}: {len(rows)} runs" + (f", {lost} diverged" if lost else "")
        ax.set_title(said, fontsize=9, loc="left")
        if self.grid.threshold is not None:
            ax.axvline(self.grid.threshold, color="0.4", linewidth=0.8, linestyle="--")

    def _shares(self) -> Path:
        figure, axes = _figure(1, 1, width=6.4, height=3.6)
        ax = axes[0, 0]
        together = sorted({value for name in self.names for value in self.values(name)})
        at = np.linspace(together[0], together[-1], 120)
        for number, name in enumerate(self.names):
            n = len(self.rows[name])
            found = [share(self.reaching(name, float(t)), n) for t in at]
            ax.plot(at, [one.mean for one in found], color=f"C{number}", label=f"{name} ({n})")
            low, high = ([getattr(one, end) for one in found] for end in ("low", "high"))
            ax.fill_between(at, low, high, color=f"C{number}", alpha=0.2, linewidth=0)
        word = "at most" if self.lower else "at least"
        ax.set_xlabel(f"threshold of {self._called()}")
        ax.set_ylabel(f"share of runs {word} the threshold")
        ax.set_ylim(0, 1)
        ax.legend(frameon=False)
        return self._save(figure, "shares")

    def _by_label(self, label: str) -> Path:
        """Draw a row of histograms for each method that has the axis, one histogram for each value."""
        having = [name for name in self.names if any(self.at(r, label) is not None for r in self.rows[name])]
        places = self.places(label)
        figure, axes = _figure(max(1, len(having)), len(places), width=2.6 * len(places), height=1.7)
        for (i, name), (j, value) in itertools.product(enumerate(having), enumerate(places)):
            chosen = [row for row in self.rows[name] if repr(self.at(row, label)) == repr(value)]
            self._histogram(axes[i, j], name, chosen, f"{name}, {value}")
        figure.suptitle(f"{self._called()} by {label}", fontsize=10)
        return self._save(figure, "by-" + re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-"))

    def _heat(self) -> Path | None:
        """Draw a heat map for each method: the median over the runs at each pair of values of two axes."""
        common = [
            label
            for label in self.labels()
            if all(label in map(self.grid.label, method.axes) for method in self.grid.methods)
        ]
        chosen = list(self.grid.heat) or common[:2]
        if len(chosen) < 2:
            return None
        down, across = chosen
        rows, columns = self.places(down), self.places(across)
        tables = {name: self._medians(name, down, across) for name in self.names}
        known = [value for table in tables.values() for value, _ in table.values() if value is not None]
        if not known:
            return None
        figure, axes = _figure(1, len(self.names), width=3.1 * len(self.names), height=3.2)
        for name, ax in zip(self.names, axes[0], strict=True):
            table = tables[name]
            pixels = np.full((len(rows), len(columns)), np.nan)
            for (i, a), (j, b) in itertools.product(enumerate(rows), enumerate(columns)):
                value, n = table[repr(a), repr(b)]
                if value is not None:
                    pixels[i, j] = value
                    light = value > (min(known) + max(known)) / 2
                    said = f"{value:.2g}\n({n})"
                    ax.text(j, i, said, ha="center", va="center", fontsize=7, color="k" if light else "w")
            shown = ax.imshow(pixels, vmin=min(known), vmax=max(known), cmap="viridis", aspect="auto")
            ax.set_xticks(range(len(columns)), [str(value) for value in columns])
            ax.set_yticks(range(len(rows)), [str(value) for value in rows])
            ax.set_xlabel(across)
            ax.set_ylabel(down)
            ax.set_title(name, fontsize=9)
        figure.colorbar(shown, ax=axes, label=f"median {self._called()} (runs)")
        return self._save(figure, "heat")

    def _medians(
        self, name: str, down: str, across: str
    ) -> Mapping[tuple[str, str], tuple[float | None, int]]:
        found = {}
        for a, b in itertools.product(self.places(down), self.places(across)):
            at = [
                row
                for row in self.rows[name]
                if repr(self.at(row, down)) == repr(a) and repr(self.at(row, across)) == repr(b)
            ]
            values = self.values(name, at)
            found[repr(a), repr(b)] = (float(np.median(values)) if values else None, len(at))
        return found

    def _best(self) -> Path | None:
        """Draw the sample sheets of the best runs. None if the run store has no sheet for some method."""
        shown = {
            name: [(row, sheet) for row in self.best(name) if (sheet := self._sheet(row))]
            for name in self.names
        }
        if not all(shown.values()):
            return None
        from PIL import Image

        figure, axes = _figure(len(self.names), BEST, width=2.7 * BEST, height=2.9)
        for ax in axes.flat:
            ax.axis("off")
        for (i, name), j in itertools.product(enumerate(self.names), range(BEST)):
            if j < len(shown[name]):
                row, sheet = shown[name][j]
                with Image.open(sheet) as picture:
                    axes[i, j].imshow(np.asarray(picture))
                value = row.metrics[self.grid.metric.name]
                note = "" if self.valid(row) else ", not valid"
                axes[i, j].set_title(f"{name}: {value:.4g}{note}", fontsize=9)
        return self._save(figure, "best")

    def _sheet(self, row: Row) -> Path | None:
        """The picture of a run's samples that its task drew; None if there is none."""
        found = sorted(results_of(self.grid).glob(f"*/*/{row.run}.samples.png"))
        return found[0] if found else None

    def _called(self) -> str:
        unit = f", {self.grid.metric.unit}" if self.grid.metric.unit else ""
        return f"{self.grid.metric.name}{unit}"

    def _save(self, figure: Any, name: str) -> Path:
        import io

        buffer = io.BytesIO()
        # Leave out the version of matplotlib, so that equal pictures are equal files.
        figure.savefig(buffer, format="png", metadata={"Software": None})
        path = self.out / f"{name}.png"
        write(path, buffer.getvalue())
        return path


def _figure(rows: int, columns: int, *, width: float, height: float) -> tuple[Any, Any]:
    """Make a figure of panels that share their axes. `width` and `height` (of one row) are in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * rows + 0.4), dpi=110, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)


def _spelled(found: Interval) -> str:
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"
