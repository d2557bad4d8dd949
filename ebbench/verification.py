"""A bundle -> what its numbers are worth: every metric computed again here, from arrays, without its code."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ebbench import contract, loader, result
from ebbench.artefacts import Replayed
from ebbench.bundles import Bundle
from ebbench.data.store import Store
from ebbench.errors import BundleError
from ebbench.progress import Reporter
from ebbench.runner import pinned
from ebbench.signals import StopRequest
from ebbench.spec import build_config
from ebbench.training import Curves

# Sums of another order, on another processor; anything more is another number.
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: in which file, which field, what was there and what should be."""

    file: str
    field: str
    found: str
    expected: str
    fix: str = ""

    @property
    def good(self) -> bool:
        """Whether what was found is what was expected."""
        return self.found == self.expected

    def __str__(self) -> str:
        if self.good:
            return f"ok: {self.file}: {self.field} is {self.found}"
        cure = f"; {self.fix}" if self.fix else ""
        return f"NOT ok: {self.file}: {self.field} is {self.found}, expected {self.expected}{cure}"


def recompute(
    bundle: Bundle, board: Iterable[result.Result], store: Store
) -> tuple[list[Check], dict[str, tuple[result.Result, Mapping[str, np.ndarray]]]]:
    """Check a bundle against itself and the board, and score it again from its artefacts.

    Gives every check, and for each run id the result as it was computed here with its pictures. Nothing of
    the bundle is executed.
    """
    checks = list(_identity(bundle, list(board)))
    made = {}
    for run_id, claimed in bundle.results.items():
        score, pictures = _scored(claimed, bundle.arrays(run_id), store, checks)
        if score is None:
            continue
        file = f"results/{run_id}.json"
        for name in sorted({*score.metrics, *claimed.metrics}):
            ours, theirs = score.metrics.get(name), claimed.metrics.get(name)
            same = (
                ours is not None
                and theirs is not None
                and abs(ours - theirs) <= TOLERANCE * max(1.0, abs(ours), abs(theirs))
            )
            shown = "missing" if theirs is None else f"{theirs:.8g}"
            expected = shown if same else "not there" if ours is None else f"{ours:.8g}, from the artefacts"
            checks.append(
                Check(file, f"metrics.{name}", shown, expected, "submit what `ebbench submit` computes")
            )
        recomputed = claimed.model_copy(
            update={"metrics": dict(score.metrics), "details": dict(score.details), "verification": None}
        )
        # Through the schema again: details come from a task and must be JSON.
        recomputed = result.build(recomputed.model_dump(mode="json"), where=file)
        made[run_id] = (recomputed, pictures)
    return checks, made


def verified(checked: result.Result, tier: result.Tier, details: Mapping[str, Any]) -> result.Result:
    """The result with its tier, which is bound to all else that it says."""
    plain = checked.model_copy(update={"verification": None})
    bound = dict(details) | {"digest": plain.digest()}
    verification = result.Verification(tier=tier, checked=result.now(), details=bound)
    return plain.model_copy(update={"verification": verification})


def _identity(bundle: Bundle, board: list[result.Result]) -> Iterable[Check]:
    """Whether the bundle is who it says, and its results are its own."""
    name = bundle.card.name
    known = loader.load("model", name) if name in loader.names("model") else None
    taken = {made.scoring.hash: made for made in board}
    hashes: dict[str, str] = {}
    for run_id, claimed in bundle.results.items():
        file = f"results/{run_id}.json"
        yield Check(file, "model.name", claimed.model.name, name, "name the card's model")
        yield Check(file, "model.title", claimed.model.title, bundle.card.title, "give the card's title")
        if known is not None:
            yield Check(
                file,
                "model.code_hash",
                claimed.model.code_hash,
                known.code_hash,
                f"'{name}' is a model of this project with other code: choose another name",
            )
        other = taken.get(claimed.scoring.hash)
        if other is not None and other.model.name != name:
            yield Check(
                file,
                "scoring.hash",
                f"that of {other.run_id}, {other.model.name}",
                "one of its own",
                "run it",
            )
        twin = hashes.setdefault(claimed.scoring.hash, run_id)
        if twin != run_id:
            yield Check(file, "scoring.hash", f"that of {twin} too", "one of its own", "submit each run once")
    digests: dict[str, str] = {}
    for run_id in bundle.results:
        content = bundle.digests[f"artefacts/{run_id}.npz"]
        twin = digests.setdefault(content, run_id)
        if twin != run_id:
            yield Check(
                f"artefacts/{run_id}.npz",
                "SHA-256",
                f"that of {twin} too",
                "arrays of its own",
                "run each seed",
            )


def _scored(
    claimed: result.Result, arrays: Mapping[str, np.ndarray], store: Store, checks: list[Check]
) -> tuple[contract.Score | None, Mapping[str, np.ndarray]]:
    """The score of the artefacts by the task that is here; None where that is another task."""
    file = f"results/{claimed.run_id}.json"
    plugin = loader.load("task", claimed.task.name)
    cls = plugin.cls
    options = build_config(cls.Options, claimed.task.options, f"{file}, task.options")
    if claimed.task.protocol not in cls.protocols:
        checks.append(
            Check(file, "task.protocol", claimed.task.protocol, " or ".join(cls.protocols), "run it again")
        )
        return None, {}
    task: contract.Task = cls(options, claimed.task.protocol, store)
    before = len(checks)
    again = "run it with this version of ebbench"
    checks.append(Check(file, "task.version", str(claimed.task.version), str(task.version), again))
    checks.append(Check(file, "task.source", claimed.task.source, task.source, "use the same data"))
    checks += [
        Check(file, f"provenance.data_hashes.{name}", found, task.data_hashes.get(name, "not there"), again)
        for name, found in claimed.provenance.data_hashes.items()
    ]
    if not all(check.good for check in checks[before:]):
        return None, {}
    curves = {part.name: part.training.evaluations for part in claimed.parts}
    scores: dict[str, contract.Score] = {}
    pictures: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder, pinned():
        for name, part in task.parts(claimed.seed).items():
            evaluations = curves.get(name, claimed.training.evaluations)
            scoring = Replayed(
                contract.Model(part.spec(), None),
                part.spec(),
                Path(folder) / str(len(scores)),
                part=name,
                arrays=arrays,
                seed=claimed.seed,
                device=torch.device("cpu"),
                sampler=claimed.sampler.name if claimed.sampler else "",
                # Never called: what is drawn is in the arrays.
                draw=torch.empty,
                declared=claimed.score,
                evaluations=Curves(**evaluations.model_dump()),
                plugin_folder=Path(claimed.model.name),
                stop=StopRequest(),
                reporter=Reporter(),
            )
            scores[name] = part.score(contract.Model(part.spec(), None), scoring)
            pictures |= {f"{name} {key}".strip().replace(" ", "-"): v for key, v in scoring.pictures.items()}
        return task.combine(scores), pictures


def first_bad(checks: Iterable[Check]) -> None:
    """Raise BundleError if a check is not good."""
    bad = [check for check in checks if not check.good]
    if bad:
        raise BundleError(
            f"{len(bad)} of the checks are not good: {bad[0].field} is {bad[0].found}",
            where=bad[0].file,
            expected=bad[0].expected,
            fix=bad[0].fix,
        )
