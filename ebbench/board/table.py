"""Makes table rows from results: one per model, configuration, sampler, budget and protocol.

Only results that differ in nothing but their seed share a row. Rows are ranked within a group of the same
task version, data, options, protocol and budget, never across groups. `Row.as_json` is the stable form that
`ebbench table --format json` prints; docs/table.md documents its keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ebbench.board.currency import State, Today
from ebbench.board.labels import full_name
from ebbench.board.names import Names
from ebbench.board.ranking import ranked
from ebbench.board.row import Cell, Reference, Row, text_of
from ebbench.board.stats import interval
from ebbench.board.tiers import RANKED, TIERS, Tier, own_task, tier_of
from ebbench.contract import Limit, Metric, Published
from ebbench.record.schema import Result


def rows(
    results: Iterable[Result],
    task: str,
    *,
    metrics: Sequence[Metric] = (),
    published: Sequence[Published] = (),
    limits: Sequence[Limit] = (),
    protocols: Sequence[str] = (),
    names: Names | None = None,
    level: float = 0.95,
    today: Today | None = None,
    own: str = "",
) -> list[Row]:
    """The rows of `task`, group by group: models by rank, then controls.

    The newest version of the task comes first, and of each version the groups in the order of `protocols`.
    Rows that were neither made nor reproduced here follow at the end of their group (`Row.block`). `metrics`,
    `published` and `limits` are the task's own; without them rows get no rank and no published number.
    `names` are the decisions on disputed names. Intervals are Student's t over the seeds at `level`. `today`
    avoids loading the plug-ins again for several tasks.

    Results on a task that was submitted with them are left out if the task here has different code. With
    `own`, the hash of a submitted task's code, only results on that task are used.
    """
    today = today or Today()
    pooled: dict[tuple[str, str], list[Result]] = {}
    # Keyed by object, because a submission may reuse another result's run id.
    tiers: dict[int, tuple[Tier, str]] = {}
    here = today.task_code(task)
    for result in results:
        brought = own_task(result)
        if result.task.name == task and (brought == own if own else brought in ("", here or brought)):
            tier, _ = tiers[id(result)] = tier_of(result, names or Names())
            # Unconfirmed claims do not join a confirmed row.
            pooled.setdefault((result.row_key(), "" if tier in RANKED else tier), []).append(result)
    order = [metric.name for metric in metrics]
    made = [_row(results, order, published, level, today, tiers) for results in pooled.values()]
    groups: dict[Any, list[Row]] = {}
    for row in made:
        groups.setdefault(row.group(), []).append(row)
    places = {name: place for place, name in enumerate(protocols)}

    def order_of(group: tuple[Any, ...]) -> tuple[Any, ...]:
        version, _, _, _, protocol, _ = group
        return (version, places.get(protocol, len(places)), group)

    ordered = sorted(groups, key=order_of)
    return [row for group in ordered for row in ranked(groups[group], metrics, limits)]


def _row(
    results: list[Result],
    order: list[str],
    published: Sequence[Published],
    level: float,
    today: Today,
    tiers: Mapping[int, tuple[Tier, str]],
) -> Row:
    kept, notes = _current(results)
    code, reason = _oldest([today.state(result) for result in kept])
    notes += [f"{code}: {reason}"] if reason else []
    notes += dict.fromkeys(reason for r in kept if (reason := tiers[id(r)][1]))
    first = kept[0]
    values = {name: [r.metrics.get(name) for r in kept] for name in _names(kept, order)}
    sampler = first.sampler.name if first.sampler else None
    return Row(
        task=first.task.name,
        task_version=first.task.version,
        protocol=first.task.protocol,
        source=first.task.source,
        options=first.task.row_options,
        data=_digest(first.provenance.data_hashes),
        model=first.model.name,
        variant=first.model.variant,
        overrides=first.overrides,
        kind=first.model.kind,
        title=first.model.title,
        sampler=sampler,
        score=first.score,
        budget=first.budget,
        seeds=[r.seed for r in kept],
        runs=[r.run_id for r in kept],
        metrics={
            name: Cell(interval([v for v in column if v is not None], level), column)
            for name, column in values.items()
        },
        published=_references(published, first),
        tier=min((tiers[id(r)][0] for r in kept), key=TIERS.index),
        level=level,
        commits=_each_once(_commit(r) for r in kept),
        machines=_each_once(_machine(r) for r in kept),
        code=code,
        notes=notes,
    )


def _current(results: list[Result]) -> tuple[list[Result], list[str]]:
    """One result per seed, all of the model's newest version; and what was left out.

    A mean over seeds that ran with different code, or with values that a card no longer gives, would be
    meaningless. The version of a model includes what it builds on.
    """
    newest_first = sorted(results, key=lambda r: (r.created, r.run_id), reverse=True)
    version = _version(newest_first[0])
    current = [r for r in newest_first if _version(r) == version]
    kept: dict[int, Result] = {}
    for result in current:
        kept.setdefault(result.seed, result)
    notes = []
    if stale := len(results) - len(current):
        notes.append(
            f"left out: {_count(stale, 'result')} of an older version of the model's code or settings"
        )
    if repeated := len(current) - len(kept):
        notes.append(f"left out: {_count(repeated, 'result')} replaced by a newer one of the same seed")
    return [kept[seed] for seed in sorted(kept)], notes


def _digest(hashes: Mapping[str, str]) -> str:
    """Twelve digits of SHA-256 over the hashes of a task's data; "" for a task that reads no file."""
    return hashlib.sha256(text_of(dict(hashes)).encode()).hexdigest()[:12] if hashes else ""


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def _commit(result: Result) -> str:
    git = (result.training.provenance or result.provenance).git
    return f"{git.commit}{' (changed)' * git.dirty}" if git else ""


def _machine(result: Result) -> str:
    trained_on = result.training.provenance or result.provenance
    if trained_on.gpu is not None:
        return trained_on.gpu.name
    threads = trained_on.cpu.threads
    return f"{trained_on.cpu.model}, {threads} thread{'s' * (threads != 1)}"


def _each_once(values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def _oldest(states: Sequence[tuple[State, str]]) -> tuple[State, str]:
    """The state of a row: "older code" if any of its seeds is."""
    return next((found for found in states if found[0] == "older code"), states[0])


def _version(result: Result) -> str:
    knobs = result.sampler.knobs if result.sampler else {}
    versions: list[Any] = [result.model.code_hash, result.config, knobs]
    base = result.training.base
    while base is not None:
        versions += [base.name, base.code_hash, base.config]
        base = base.base
    return text_of(versions)


def _names(results: list[Result], order: list[str]) -> list[str]:
    found = {name for result in results for name in result.metrics}
    return [name for name in order if name in found] + sorted(found - set(order))


def _references(published: Sequence[Published], made: Result) -> dict[str, Reference]:
    """Published numbers for this model, variant, sampler and protocol under these values, by metric.

    A published row without a sampler applies to all samplers, unless another row names this one.
    """
    full = full_name(made.model.name, made.model.variant)
    sampler = made.sampler.name if made.sampler else None
    knobs = made.sampler.knobs if made.sampler else {}
    values = (
        made.config
        | {f"{sampler}.{name}": value for name, value in knobs.items()}
        | made.task.row_options
        | {"source": made.task.source}
    )
    fitting = [
        row
        for row in published
        if row.model == full
        and row.sampler in ("", sampler)
        and row.protocol in ("", made.task.protocol)
        and all(name in values and values[name] == value for name, value in row.options.items())
    ]
    found: dict[str, Reference] = {}
    for row in sorted(fitting, key=lambda row: row.sampler == ""):
        for name, (value, plus_minus) in row.metrics.items():
            found.setdefault(name, Reference(value, plus_minus, row.source, row.confidence))
    return found
