"""How long the runs that are left of a plan will take, by results that are there and by the models' cards."""

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

# What an estimate rests on: results of the same settings, the minutes of the model's card, or nothing.
Source = Literal["results", "card", "unknown"]
# The fields of a configuration that say how long a training is.
_LENGTH = ("steps", "epochs")


@dataclass(frozen=True)
class Estimate:
    """Runs of a plan that differ by their seed alone: how many are left, and the seconds of all together.

    `seconds` is None where nothing is known. A training that several runs share counts for the first of them.
    `longest` are the seconds of the longest single run.
    """

    label: str
    runs: int
    seconds: float | None
    source: Source
    longest: float = 0.0


def estimate(runs: Iterable[Run], results: Path) -> list[Estimate]:
    """What the `runs` will take on a machine like that of the `results`, in the order of the plan."""
    past = _Past(results)
    begun: set[str] = set()
    groups: dict[str, list[tuple[float | None, Source]]] = defaultdict(list)
    for run in runs:
        groups[_label(run.job)].append(past.run(run, begun))
    return [_sum(label, costs) for label, costs in groups.items()]


def buildable(runs: Iterable[Run], tasks: Tasks, summary: Summary) -> list[Run]:
    """The runs whose model can be built; the others go into the summary as failed.

    Runs that differ by their seed alone are tried once. A net is built in hundredths of a second.
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
    """Build the model of a job, and its base, for each part of the task. Raises what keeps one from it."""
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
    """The estimates as lines, the dearest first, and their sum."""
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
        # No number of workers makes a single run shorter.
        least = max(total / min(workers, runs), *(e.longest for e in known))
        shared = f", at least {least / 3600:.1f} with {workers} workers" if workers > 1 else ""
        lines.append(f"{_runs(runs)}: {total / 3600:.1f} hours one after the other{shared}")
    if unknown:
        lines.append(f"{_runs(sum(e.runs for e in unknown))} of which nothing is known")
    return "\n".join(lines)


class _Past:
    """The results that are there, and what they took."""

    def __init__(self, results: Path) -> None:
        self._by_name: dict[tuple[str, str, str, str], list[Result]] = defaultdict(list)
        for one in load_files(results)[0].values() if results.is_dir() else []:
            key = (one.task.name, one.model.name, one.model.variant, one.budget)
            self._by_name[key].append(one)

    def run(self, run: Run, begun: set[str]) -> tuple[float | None, Source]:
        """The seconds of a run, less those of trainings that have `begun`, to which its own are added."""
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
        """By the median over results of the same settings, scaled to the steps or epochs, else the card."""
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
        """By the minutes of the card, scaled where `--set` changed the length and nothing else."""
        minutes = budget_minutes(spec.model, spec.budget, spec.task.name, spec.variant)
        if minutes is None or spec.overrides.keys() - set(_LENGTH):
            return None, "unknown"
        values = budget_values(spec.model, spec.budget, spec.task.name, spec.variant)
        (unit, before), (asked, now) = _length(values), _length(config)
        if spec.overrides and (unit != asked or not before):
            return None, "unknown"
        return 60 * minutes * (now / before if spec.overrides else 1.0), "card"

    def _scoring(self, spec: Spec) -> float:
        """By the same protocol, else by any; 0 where no result has the sampler."""
        named = [(one.sampler.name if one.sampler else "", one) for one in self._alike(spec)]
        alike = [one for sampler, one in named if sampler == spec.sampler]
        same = [one for one in alike if one.task.protocol == spec.protocol]
        found = [one.scoring.seconds for one in same or alike]
        return median(found) if found else 0.0

    def _alike(self, spec: Spec) -> list[Result]:
        # "auto" stands for what a machine has; a result holds what it stood for.
        options = {key: value for key, value in plain(spec.options).items() if value != "auto"}
        named = self._by_name.get((spec.task.name, spec.model.name, spec.variant, spec.budget), [])
        return [one for one in named if _agree(one.task.options, options)]


def _evaluating(result: Result) -> float:
    """The seconds of the evaluations along training, which a result does not hold: as many final scorings."""
    parts: Iterable[Result | PartOfResult] = result.parts or [result]
    return sum(len(one.training.evaluations.step) * one.scoring.seconds for one in parts)


def _agree(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether the settings that both have are the same, but for the length of the training."""
    return all(before[key] == now[key] for key in before.keys() & now.keys() if key not in _LENGTH)


def _length(config: dict[str, Any]) -> tuple[str, float]:
    """How long the training of a configuration is, and in what: epochs where it counts them, else steps."""
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
