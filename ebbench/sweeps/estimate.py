"""Estimate how long the remaining runs of a plan take, from earlier results and from the models' cards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from ebbench.plugins.budgets import budget_minutes, budget_values
from ebbench.plugins.configs import plain
from ebbench.plugins.guard import plugin_code
from ebbench.record.resultfiles import load_files
from ebbench.record.schema import PartOfResult, Result
from ebbench.running.identity import Identity
from ebbench.running.spec import Spec
from ebbench.sweeps.plan import Job
from ebbench.sweeps.summary import Summary
from ebbench.sweeps.work import Run, Tasks, one_line

# The basis of an estimate: results with the same settings, the minutes in the model's card, or nothing.
Source = Literal["results", "card", "unknown"]
# The fields of a configuration that set the length of a training.
_LENGTH = ("steps", "epochs")


@dataclass(frozen=True)
class Estimate:
    """The estimate for the remaining runs of a plan that differ only in their seed.

    `seconds` is the time of all these `runs` together, or None if it is unknown. A training that several runs
    share counts for the first of them. `longest` is the time of the longest single run in seconds.
    """

    label: str
    runs: int
    seconds: float | None
    source: Source
    longest: float = 0.0


def estimate(runs: Iterable[Run], results: Path) -> list[Estimate]:
    """Estimate the time of `runs` on a machine like that of the `results`, in the order of the plan."""
    past = _Past(results)
    begun: set[str] = set()
    groups: dict[str, list[tuple[float | None, Source]]] = defaultdict(list)
    for run in runs:
        groups[_label(run.job)].append(past.run(run, begun))
    return [_sum(label, costs) for label, costs in groups.items()]


def buildable(runs: Iterable[Run], tasks: Tasks, summary: Summary) -> list[Run]:
    """Return the runs whose model can be built. The other runs go into the summary as failed.

    Among runs that differ only in their seed, one is tried. Building a network takes hundredths of a second.
    """
    said: dict[str, str] = {}
    kept = []
    for run in runs:
        label = _label(run.job)
        if label not in said:
            try:
                _build(run.job, tasks)
                said[label] = ""
            except Exception as error:  # a plug-in's mistake of any kind fails its own runs
                said[label] = one_line(error)
        if said[label]:
            summary.failed.append((run.job.label(), said[label]))
        else:
            kept.append(run)
    return kept


def _build(job: Job, tasks: Tasks) -> None:
    """Build the model of a job, and its base, for each part of the task. Raises any error of the plug-ins."""
    spec = job.spec
    with plugin_code(spec.task, None, "parts"):
        parts = list(tasks.of(spec).parts(job.seed).values())
    for part in parts:
        with plugin_code(spec.task, None, "spec"):
            data = part.spec()
        for level in [spec] if spec.base is None else [spec.base, spec]:
            with plugin_code(level.model, None, "__init__"):
                level.model.cls(data, level.config)


def table(estimates: Iterable[Estimate], workers: int) -> str:
    """Format the estimates as lines, the longest first, followed by their sum."""
    known = sorted((e for e in estimates if e.seconds is not None), key=lambda e: -(e.seconds or 0))
    unknown = [e for e in estimates if e.seconds is None]
    width = max((len(e.label) for e in [*known, *unknown]), default=0)
    lines = [
        f"{e.label:<{width}}  {e.runs:>4} run{'s' if e.runs != 1 else ' '}  "
        + ("     unknown" if e.seconds is None else f"{e.seconds / 60:>8.1f} min")
        + (f"  by {e.source}" if e.seconds is not None else "")
        for e in [*known, *unknown]
    ]
    runs = sum(e.runs for e in known)
    if runs:
        total = sum(e.seconds or 0 for e in known)
        # The sweep takes at least as long as its longest run, whatever the number of workers.
        least = max(total / min(workers, runs), *(e.longest for e in known))
        shared = f", at least {least / 3600:.1f} with {workers} workers" if workers > 1 else ""
        lines.append(f"{_runs(runs)}: {total / 3600:.1f} hours one after the other{shared}")
    if unknown:
        lines.append(f"{_runs(sum(e.runs for e in unknown))} of which nothing is known")
    return "\n".join(lines)


class _Past:
    """The earlier results, and the time that they took."""

    def __init__(self, results: Path) -> None:
        self._by_name: dict[tuple[str, str, str, str], list[Result]] = defaultdict(list)
        for one in load_files(results)[0].values() if results.is_dir() else []:
            key = (one.task.name, one.model.name, one.model.variant, one.budget)
            self._by_name[key].append(one)

    def run(self, run: Run, begun: set[str]) -> tuple[float | None, Source]:
        """Return the seconds of a run and the basis of this estimate.

        `begun` has the hashes of trainings that another run already counts. They count as 0 here if the model
        keeps its state. The trainings of this run are added to `begun`.
        """
        total = 0.0
        source: Source = "results"
        levels: list[tuple[Spec, Identity]] = [(run.job.spec, run.identity)]
        if run.job.spec.base is not None and run.identity.base is not None:
            levels.insert(0, (run.job.spec.base, run.identity.base))
        for spec, identity in levels:
            if identity.training in begun and spec.model.cls.keeps_state:
                continue
            seconds, by = self._training(spec)
            if seconds is None:
                return None, "unknown"
            begun.add(identity.training)
            total += seconds
            source = "card" if by == "card" else source
        return total + self._scoring(run.job.spec), source

    def _training(self, spec: Spec) -> tuple[float | None, Source]:
        """The seconds of a training: from results with the same settings, otherwise from the card.

        With results, it is their median, scaled to the number of steps or epochs.
        """
        config = plain(spec.config)
        found = []
        for one in self._alike(spec):
            if _agree(one.config, config):
                (unit, before), (asked, now) = _length(one.config), _length(config)
                if unit == asked:
                    seconds = one.training.seconds * (now / before if before else 1.0)
                    found.append(seconds + _evaluating(one))
        if found:
            return median(found), "results"
        if config.keys() & set(_LENGTH) and not _length(config)[1]:
            return 0.0, "card"
        return self._by_card(spec, config)

    def _by_card(self, spec: Spec, config: dict[str, Any]) -> tuple[float | None, Source]:
        """The seconds of a training by the minutes in the card.

        If `--set` changed only the length, they are scaled to it. Any other change makes them unknown.
        """
        card = (spec.model, spec.budget, spec.task.name, spec.variant)
        minutes = budget_minutes(*card, changed=bool(spec.overrides))
        if minutes is None or spec.overrides.keys() - set(_LENGTH):
            return None, "unknown"
        values = budget_values(*card, changed=bool(spec.overrides))
        (unit, before), (asked, now) = _length(values), _length(config)
        if spec.overrides and (unit != asked or not before):
            return None, "unknown"
        return 60 * minutes * (now / before if spec.overrides else 1.0), "card"

    def _scoring(self, spec: Spec) -> float:
        """The median seconds of scoring over results with the same sampler; 0 if there are none.

        Results with the same protocol are preferred to those with another.
        """
        named = [(one.sampler.name if one.sampler else "", one) for one in self._alike(spec)]
        alike = [one for sampler, one in named if sampler == spec.sampler]
        same = [one for one in alike if one.task.protocol == spec.protocol]
        found = [one.scoring.seconds for one in same or alike]
        return median(found) if found else 0.0

    def _alike(self, spec: Spec) -> list[Result]:
        # "auto" stands for a property of the machine. A result holds the value that it stood for.
        options = {key: value for key, value in plain(spec.options).items() if value != "auto"}
        named = self._by_name.get((spec.task.name, spec.model.name, spec.variant, spec.budget), [])
        return [one for one in named if _agree(one.task.options, options)]


def _evaluating(result: Result) -> float:
    """The seconds of the evaluations along training, which a result does not hold: as many final scorings."""
    parts: Iterable[Result | PartOfResult] = result.parts or [result]
    return sum(len(one.training.evaluations.step) * one.scoring.seconds for one in parts)


def _agree(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether the settings that both have are equal. The length of the training may differ."""
    return all(before[key] == now[key] for key in before.keys() & now.keys() if key not in _LENGTH)


def _length(config: dict[str, Any]) -> tuple[str, float]:
    """The unit and the length of the training of a configuration: epochs if it sets them, else steps."""
    unit = "epochs" if config.get("epochs") else "steps"
    return unit, float(config.get(unit) or 0)


def _runs(number: int) -> str:
    return f"{number} run" + ("s" if number != 1 else "")


def _label(job: Job) -> str:
    return job.label().removesuffix(f" seed {job.seed}")


def _sum(label: str, costs: list[tuple[float | None, Source]]) -> Estimate:
    known = [seconds for seconds, _ in costs if seconds is not None]
    if len(known) < len(costs):
        return Estimate(label, len(costs), None, "unknown")
    source: Source = "card" if any(by == "card" for _, by in costs) else "results"
    return Estimate(label, len(costs), sum(known), source, max(known))
