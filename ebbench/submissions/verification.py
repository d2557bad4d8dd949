"""Verify a bundle: compute every metric again on this machine, from the arrays, without the bundle's code.

The arrays do not decide the cost of the training, its curves and its configuration. These stay claims of the
author.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ebbench import contract
from ebbench.board.names import Names
from ebbench.data.store import Store
from ebbench.device import pinned
from ebbench.errors import BundleError, EbbenchError, unknown
from ebbench.plugins import loader
from ebbench.plugins.budgets import BUDGETS
from ebbench.plugins.configs import build_config
from ebbench.record import schema
from ebbench.record.provenance import hashes_by_name
from ebbench.running.progress import Reporter
from ebbench.running.replay import Replay, digest, replay
from ebbench.submissions import bound, copies, naming
from ebbench.submissions.bundles import Bundle
from ebbench.submissions.checking import TOLERANCE, Check
from ebbench.submissions.rerun import code_hash

# What the text of a task's option in a bundle must look like: nothing that could be the path of a file.
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,60}")


def recompute(
    bundle: Bundle,
    board: Sequence[schema.Result],
    store: Store,
    reporter: Reporter,
    *,
    names: Names,
    same_author: bool = False,
) -> tuple[list[Check], dict[str, tuple[schema.Result, Mapping[str, np.ndarray], dict[str, Any]]]]:
    """Check a bundle against itself and the board, and score it again from its artefacts.

    Return every check, and for each run id three things: the result as computed here, its pictures, and what
    the board keeps of its arrays (a digest, and sketches that detect copies). No code of the bundle runs.

    A model's name that is on the board already belongs to somebody else, unless the caller says that the
    bundle is by the `same_author`. Results under a name that the maintainers have withdrawn are ignored.
    """
    # A bundle may be verified twice: its own results on the board are not another author's.
    others = [
        made for made in board if _origin(made) != bundle.sha256 and not names.withdrawn(made.model.name)
    ]
    code = code_hash(bundle)
    checks = list(naming.checks(bundle, others, code, same_author))
    made = {}
    known = [(made, _arrays(made), _sketches(made)) for made in others]
    for run_id, claimed in bundle.results.items():
        checks += _claims(claimed, bundle, code, others)
        arrays = bundle.arrays(run_id)
        file = f"artefacts/{run_id}.npz"
        # Score first, so that arrays that the task does not ask for are refused before they are unpacked.
        task = task_of(claimed, store, checks)
        if task is None:
            continue
        if code:
            with _task_code(f"results/{run_id}.json"):
                checks += [*bound.settings(claimed, bundle), *bound.hashes(claimed, bundle, task)]
        replayed = _replayed(task, claimed, arrays, reporter)
        if replayed.unused:
            checks += [Check(file, "array", name, "one that the task asks for") for name in replayed.unused]
            continue
        own, sketches = digest(arrays), copies.sketches(arrays)
        apart = [entry for entry in known if not _may_share(claimed, entry[0], bool(code))]
        twins = [f"that of {other.run_id}" for other, content, _ in apart if content == own]
        found = twins[0] if twins else own
        checks.append(Check(file, "content", found, "arrays of its own" if twins else own))
        alike = [
            f"{said} of that of {other.run_id}"
            for other, _, sketched in apart
            if (said := copies.copied(sketches, sketched))
        ]
        found = alike[0] if alike and not twins else "arrays of its own"
        checks.append(Check(file, "content, nearly", found, "arrays of its own"))
        known.append((claimed, own, sketches))
        checks += _metrics(claimed, replayed.score.metrics)
        checks += limits(claimed.task.name, f"results/{run_id}.json", replayed.score.metrics)
        kept = {"arrays": own, "sketches": copies.as_json(sketches)}
        made[run_id] = (rescored(claimed, replayed), replayed.pictures, kept)
    return checks, made


def unscored(
    bundle: Bundle, board: Sequence[schema.Result], names: Names, same_author: bool, *, own: str = ""
) -> list[Check]:
    """Return every check of a bundle that needs no task.

    Nothing is computed, so the numbers of the bundle stay claims. `own` is the name of the task that the
    bundle brings.
    """
    others = [
        made for made in board if _origin(made) != bundle.sha256 and not names.withdrawn(made.model.name)
    ]
    code = code_hash(bundle)
    checks = list(naming.checks(bundle, others, code, same_author))
    for claimed in bundle.results.values():
        task = claimed.task.name
        known = task if task in {own, *loader.names("task")} else "a task that is here, or the bundle's own"
        checks.append(Check(f"results/{claimed.run_id}.json", "task.name", task, known))
        checks += _claims(claimed, bundle, code, others)
        checks += bound.settings(claimed, bundle) if code else []
    return checks


def rescored(claimed: schema.Result, replayed: Replay) -> schema.Result:
    """Return the claimed result with the metrics and details of `replayed`, for the whole and for each part.

    The new result has no pictures and no verification. Raises BundleError if the parts have other names.
    """
    names = [part.name for part in claimed.parts]
    if names != [name for name in replayed.parts if name]:
        raise BundleError(
            f"its parts are {', '.join(names)[:300] or 'none'}",
            where=f"results/{claimed.run_id}.json",
            expected=", ".join(name for name in replayed.parts if name) or "none",
            fix="submit the values that `ebbench submit` computes",
        )
    parts = [
        part.model_copy(
            update={
                "metrics": dict(replayed.parts[part.name].metrics),
                "details": dict(replayed.parts[part.name].details),
            }
        )
        for part in claimed.parts
    ]
    update = {"metrics": dict(replayed.score.metrics), "details": dict(replayed.score.details)}
    whole = claimed.model_copy(update={**update, "parts": parts, "pictures": {}, "verification": None})
    # Through the schema again: details come from a task and must be JSON.
    return schema.build(whole.model_dump(mode="json"), where=f"results/{claimed.run_id}.json")


def verified(checked: schema.Result, tier: schema.Confirmed, details: Mapping[str, Any]) -> schema.Result:
    """Return the result with its tier. The digest of the rest of the result binds the tier to it."""
    plain = checked.model_copy(update={"verification": None})
    bound = dict(details) | {"digest": plain.digest()}
    verification = schema.Verification(tier=tier, checked=schema.now(), details=bound)
    return plain.model_copy(update={"verification": verification})


def _may_share(one: schema.Result, other: schema.Result, from_code: bool) -> bool:
    """Whether two results may have the same arrays. One of these must hold:

    - They are of two tasks.
    - Their arrays come `from_code`, and they share model, seed, training and sampler: several protocols and
      options may ask one trained model for the same arrays.
    - Their arrays come `from_code`, and both are scores within one row. A closed form gives the same scores
      for every seed. A rerun shows whether the code really does so. Samples must differ between seeds.

    Without code, nobody here knows how the arrays came about.
    """
    same = all(
        getattr(one, name) == getattr(other, name)
        for name in ("model", "seed", "budget", "config", "sampler", "trainings")
    )
    scores = one.sampler is None and one.row_key() == other.row_key()
    return one.task.name != other.task.name or (from_code and (same or scores))


def _arrays(made: schema.Result) -> Any:
    return made.verification.details.get("arrays") if made.verification else None


def _sketches(made: schema.Result) -> dict[str, copies.Sketch]:
    return copies.from_json(made.verification.details.get("sketches", {}) if made.verification else {})


def _origin(made: schema.Result) -> Any:
    return made.verification.details.get("bundle") if made.verification else None


def _claims(
    claimed: schema.Result, bundle: Bundle, code: str, others: Sequence[schema.Result]
) -> Iterable[Check]:
    """Check what a result says of itself against the card, the code and the board."""
    file, card, model = f"results/{claimed.run_id}.json", bundle.card, claimed.model

    def check(field: str, found: object, expected: object, fix: str = "") -> Check:
        return Check(file, field, str(found), str(expected), fix)

    yield check("model.name", model.name, card.name, "name the card's model")
    yield check("model.title", model.title, card.title, "give the card's title")
    if model.variant:
        yield check(
            "model.variant", model.variant, model.variant if model.variant in card.variants else "none"
        )
    variant = card.variants.get(model.variant)
    control = card.kind == "control" or (variant is not None and variant.control)
    yield check("model.kind", model.kind, "control" if control else "model", "as the card has it")
    if claimed.score:
        declared = variant.score if variant else ""
        declared = declared or card.scores.get(claimed.task.name, {}).get(claimed.task.protocol, "")
        declared = declared or card.score or "energy"
        yield check("score", claimed.score, declared, "declare it in the card")
    if code:
        yield check("model.code_hash", model.code_hash, code, "submit the code that was run")
        known = " or ".join(BUDGETS)
        yield check("budget", claimed.budget, claimed.budget if claimed.budget in BUDGETS else known)
    else:
        # Without code, nobody here knows the cost and the settings of the training.
        yield check("budget", claimed.budget, schema.EXTERNAL, "there is no code in the bundle")
        yield check("config", claimed.config, {})
        yield check("overrides", claimed.overrides, {})
        training = claimed.training
        said = [training.steps, training.seconds, training.parameters, training.curves.step]
        yield check("training", said, [0, 0.0, 0, []])
    yield check("seed", claimed.seed, min(max(claimed.seed, 0), 2**32 - 1), "between 0 and 2^32 - 1")
    yield check("created", claimed.created, min(claimed.created, schema.now()), "a time in the past")
    command = claimed.provenance.command
    yield check("provenance.command", command, command if command.startswith("ebbench ") else "ebbench ...")
    for other in others:
        if claimed.run_id == other.run_id:
            yield check("run_id", claimed.run_id, "one that is not on the board", "run it again")
        if claimed.scoring.hash == other.scoring.hash:
            yield check(
                "scoring.hash", f"that of {other.run_id}, {other.model.name}", "one of its own", "run it"
            )
    for twin in bundle.results.values():
        if twin is claimed:
            break
        if claimed.scoring.hash == twin.scoring.hash:
            yield check(
                "scoring.hash", f"that of {twin.run_id} too", "one of its own", "submit each run once"
            )


def _metrics(claimed: schema.Result, ours: Mapping[str, float]) -> Iterable[Check]:
    """Check each claimed metric against the one that was computed from the artefacts."""
    for name in sorted({*ours, *claimed.metrics}):
        here, theirs = ours.get(name), claimed.metrics.get(name)
        same = (
            here is not None
            and theirs is not None
            and abs(here - theirs) <= TOLERANCE * max(1.0, abs(here), abs(theirs))
        )
        shown = "missing" if theirs is None else f"{theirs:.8g}"
        expected = shown if same else "not there" if here is None else f"{here:.8g}, from the artefacts"
        cure = "submit the values that `ebbench submit` computes"
        yield Check(f"results/{claimed.run_id}.json", f"metrics.{name}", shown, expected, cure)


def limits(task: str, file: str, metrics: Mapping[str, float]) -> Iterable[Check]:
    """Yield a failed check for each limit of the task that is broken. No honest result breaks one."""
    for limit in loader.load("task", task).cls.limits:
        if said := limit.broken(metrics):
            cure = "look for a mistake in the samples or scores; if there is none, say so in an issue"
            yield Check(file, f"metrics.{limit.metric}", said, "within the limits of the task", cure)


def replayed_claim(
    claimed: schema.Result,
    arrays: Mapping[str, np.ndarray],
    store: Store,
    checks: list[Check],
    reporter: Reporter,
) -> Replay | None:
    """Score the artefacts of a claimed result by the task of this installation.

    Return None, and add failed checks to `checks`, if the claim is of another version of the task. Raises
    BundleError if the task cannot score the artefacts.
    """
    task = task_of(claimed, store, checks)
    return None if task is None else _replayed(task, claimed, arrays, reporter)


def task_of(claimed: schema.Result, store: Store, checks: list[Check]) -> contract.Task | None:
    """The task of a result, from this installation, with the result's options.

    Return None, and add failed checks to `checks`, if the task here differs from the one of the result.
    Raises UsageError for an unknown task or unknown options, and BundleError if the task refuses them.
    """
    file = f"results/{claimed.run_id}.json"
    # Only names are accepted: a path could point to a stranger's code.
    if claimed.task.name not in (known := loader.names("task")):
        raise unknown("task", claimed.task.name[:100], known, where=file)
    cls = loader.load("task", claimed.task.name).cls
    before = len(checks)
    again = "run it with this version of ebbench"
    for field in dataclasses.fields(cls.Options):
        value = claimed.task.options.get(field.name, field.default)
        # `build_config` checks options with a closed list of values. A free text could name any file.
        if value != field.default and isinstance(value, str) and _free_text(cls.Options, field.name):
            plain = WORD.fullmatch(value) and not Path(value).exists()
            expected = value if plain else "a plain word"
            checks.append(
                Check(file, f"task.options.{field.name}", value, expected, "not the path of a file")
            )
    protocol = claimed.task.protocol
    known_one = protocol if protocol in cls.protocols else " or ".join(cls.protocols)
    checks.append(Check(file, "task.protocol", protocol, known_one, again))
    if not all(check.good for check in checks[before:]):
        return None
    options = build_config(cls.Options, claimed.task.options, f"{file}, task.options")
    with _task_code(file):
        task: contract.Task = cls(options, protocol, store)
    settled, said = (_compact(o) for o in (dataclasses.asdict(task.options), claimed.task.options))
    checks.append(Check(file, "task.version", str(claimed.task.version), str(task.version), again))
    checks.append(Check(file, "task.source", claimed.task.source, task.source, "use the same data"))
    checks.append(Check(file, "task.options", said, settled, "give the value that the task uses"))
    said_hashes, here = claimed.provenance.data_hashes, hashes_by_name(task.data_hashes)
    hashes, data = (_compact(h) for h in (said_hashes, here))
    checks.append(Check(file, "provenance.data_hashes", hashes, data, again))
    if not all(check.good for check in checks[before:]):
        return None
    return task


def _replayed(
    task: contract.Task, claimed: schema.Result, arrays: Mapping[str, np.ndarray], reporter: Reporter
) -> Replay:
    file = f"results/{claimed.run_id}.json"
    with pinned(), _task_code(file):
        return replay(
            task,
            arrays,
            seed=claimed.seed,
            where=file,
            reporter=reporter,
            sampler=claimed.sampler.name if claimed.sampler else "",
            declared=claimed.score,
        )


def _free_text(options: type, name: str) -> bool:
    kind = typing.get_type_hints(options)[name]
    return str in (kind, *typing.get_args(kind))


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True)


@contextmanager
def _task_code(file: str) -> Iterator[None]:
    """Turn any other error of a task's code within this context into BundleError.

    A stranger's values may break a task in any way. The user gets a refusal instead of a traceback.
    """
    try:
        yield
    except EbbenchError:
        raise
    except Exception as error:
        raise BundleError(
            f"the task cannot score the result: {type(error).__name__}: {str(error)[:300]}",
            where=file,
            expected="arrays and options that the task accepts",
            fix="submit an unchanged bundle of `ebbench submit`",
        ) from error
