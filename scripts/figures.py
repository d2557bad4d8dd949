"""Draw the figures of docs/findings/ that `scripts/findings` does not draw, from the committed results.

    python scripts/figures.py [--results results] [--out docs/figures]

Every point is a metric of a result file. The script computes nothing but means.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from ebbench.board import labels, table
from ebbench.plugins import loader
from ebbench.record.resultfiles import load_all
from ebbench.record.schema import Result

# Fixed, so that the same results give the same bytes.
plt.rcParams["svg.hashsalt"] = "ebbench"
plt.rcParams["font.size"] = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    arguments = parser.parse_args()
    found, _ = load_all(arguments.results)
    # Only results that are in a row of the table, so none that a newer version of a model replaced.
    current = {
        run
        for task in {result.task.name for result in found}
        for row in table.rows(found, task)
        for run in row.runs
    }
    results = [result for result in found if result.run_id in current]
    arguments.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Callable[[list[Result]], plt.Figure | None]] = {
        "kdd99-epochs": lambda all_: epochs([r for r in all_ if r.task.name == "kdd99"], "f1"),
        "mnist-anomaly-digits": lambda all_: digits([r for r in all_ if r.task.name == "mnist-anomaly"]),
        "toy2d-25gaussians": lambda all_: toys([r for r in all_ if r.task.name == "toy2d"], "25gaussians"),
    }
    for name, draw in figures.items():
        figure = draw([r for r in results if r.budget == "cpu"])
        if figure is None:
            print(f"{name}: no results")
            continue
        path = arguments.out / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
        plt.close(figure)
        print(path)


def called(result: Result) -> str:
    """A result's model and variant, as `MODEL:VARIANT`."""
    return labels.full_name(result.model.name, result.model.variant)


def called_with_sampler(result: Result) -> str:
    """The same, with the sampler that is not the generator's and the base and calibration of DDLS."""
    sampler = result.sampler.name if result.sampler else ""
    parts = [called(result), "" if sampler == "generator" else sampler]
    parts += ["on " + str(result.overrides["base"])] if "base" in result.overrides else []
    parts += ["not calibrated"] if result.overrides.get("ddls.calibrated") is False else []
    return " ".join(part for part in parts if part)


def toys(results: list[Result], law: str) -> plt.Figure | None:
    """One line per method and sampler: its samples, and the mass of its energy."""
    if not results:
        return None
    figure, panels = plt.subplots(1, 2, figsize=(10, 6), layout="constrained")
    for panel, metric in zip(panels, (f"high_quality_4_{law}", f"spurious_mass_{law}"), strict=True):
        # All samplers of a training share its energy.
        energies = metric.startswith("spurious")
        with_it = [r for r in results if metric in r.metrics]
        if energies:
            with_it = [r for r in with_it if r.sampler is None or r.sampler.name == "generator"]
        _methods(panel, with_it, metric, called if energies else called_with_sampler)
        panel.set_xlabel(f"{metric}: seeds, mean (bar)")
    return figure


def _methods(
    panel: Axes,
    results: list[Result],
    metric: str,
    label: Callable[[Result], str],
) -> None:
    values: dict[str, list[float]] = defaultdict(list)
    for result in results:
        values[label(result)].append(result.metrics[metric])
    order = sorted(values, key=lambda name: sum(values[name]) / len(values[name]))
    controls = {label(r) for r in results if r.model.kind == "control"}
    for height, name in enumerate(order):
        colour = "0.6" if name in controls else "C0"
        panel.plot(values[name], [height] * len(values[name]), "o", color=colour, markersize=4, alpha=0.6)
        panel.plot(sum(values[name]) / len(values[name]), height, "|", color=colour, markersize=14)
    panel.set_yticks(range(len(order)), order)
    panel.set_xlim(0, 1)
    panel.grid(axis="x", alpha=0.3)


def epochs(results: list[Result], metric: str) -> plt.Figure | None:
    """MEG and EBGAN along training: one line per seed, one panel per model, protocol and score."""
    followed = [r for r in results if called(r) in ("meg", "ebgan") and len(r.training.evaluations.step) > 1]
    if not followed:
        return None
    panels = sorted(
        {
            (called(r), r.task.protocol, name.removesuffix(f".{metric}"))
            for r in followed
            for name in r.training.evaluations.series
            if name.endswith(f".{metric}")
        }
    )
    columns = 4
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3 * columns, 2.8 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (model, protocol, score) in zip(axes.flat, panels, strict=False):
        for result in followed:
            if called(result) == model and result.task.protocol == protocol:
                series = result.training.evaluations.series[f"{score}.{metric}"]
                axis.plot(range(len(series)), series, ".-", linewidth=1, label=f"seed {result.seed}")
        axis.set_title(f"{model}, {protocol}, {score}")
        axis.set_xlabel("epochs trained")
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
    for row in axes:
        row[0].set_ylabel(metric)
    axes[0][0].legend(fontsize=7)
    return figure


def digits(results: list[Result]) -> plt.Figure | None:
    """The area under precision and recall by held-out digit: seeds, and the published value."""
    whole = [r for r in results if r.parts]
    if not whole:
        return None
    published = {row.model: row.metrics for row in loader.load("task", "mnist-anomaly").cls.published}
    names = sorted({called(r) for r in whole if r.model.kind == "model" or r.model.variant == "untrained"})
    chance = {part.name: part.metrics["prevalence"] for result in whole for part in result.parts}
    shown = {int(name.rpartition(" ")[2]): value for name, value in sorted(chance.items())}
    columns = 4
    rows = -(-len(names) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(10, 2.4 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for axis in grid.flat[len(names) :]:
        axis.set_visible(False)
    for axis, name in zip(grid.flat, names, strict=False):
        for shift, protocol in ((-0.15, "clean"), (0.15, "published")):
            for mark, points in _by_digit(whole, name, protocol):
                axis.plot([d + shift for d, _ in points], [v for _, v in points], mark, markersize=3)
        for metric, (value, _) in published.get(name, {}).items():
            axis.plot(int(metric.rpartition("_")[2]), value, "x", color="C3")
        for digit, value in shown.items():
            axis.plot([digit - 0.4, digit + 0.4], [value, value], color="0.6", linewidth=1)
        axis.set_title(name)
        axis.set_xticks(list(shown))
        axis.set_ylim(0, 1)
        axis.grid(axis="y", alpha=0.3)
    for row in grid:
        row[0].set_ylabel("auprc")
    figure.supxlabel("held-out digit; blue clean, orange published, cross the paper, grey chance", fontsize=9)
    return figure


def _by_digit(
    results: Iterable[Result], name: str, protocol: str
) -> Iterable[tuple[str, list[tuple[int, float]]]]:
    colour = {"clean": "C0", "published": "C1"}[protocol]
    for result in results:
        if called(result) == name and result.task.protocol == protocol:
            points = [(d, v) for d in range(10) if (v := result.metrics.get(f"auprc_{d}")) is not None]
            yield f"{colour}o", points


if __name__ == "__main__":
    main()
