"""A bundle -> what its numbers are worth: every metric computed again here, from arrays, without its code."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ebbench import contract, loader, result, spec, stats, sweeping
from ebbench.artefacts import replay
from ebbench.bundles import Bundle
from ebbench.data.store import Store
from ebbench.errors import BundleError
from ebbench.files import write_atomically
from ebbench.runner import pinned
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


def rerun(
    bundle: Bundle, data_dir: Path | None, folder: Path
) -> tuple[list[Check], dict[str, dict[str, float]]]:
    """Train and score every run of the bundle here, by its own code, each row in a process of its own.

    THIS RUNS THE CODE OF THE BUNDLE, which may do whatever its user may. The model and its runs go to
    `folder`. Gives a check for each row and primary metric, and the metrics by run id. The mean of the
    seeds that were run again must lie where the submitted seeds predict it; the same number is the same
    number, however many seeds there are. Raises BundleError where there is no code, or it does not run.
    """
    model = _unpacked(bundle, folder)
    rows: dict[str, list[result.Result]] = {}
    for claimed in bundle.results.values():
        rows.setdefault(claimed.row_key(), []).append(claimed)
    checks: list[Check] = []
    found: dict[str, dict[str, float]] = {}
    for row in rows.values():
        seeds = ",".join(str(claimed.seed) for claimed in row)
        command = sweeping.run_command(spec.request_of(row[0], model=str(model)), seeds)
        command += ["--quiet", "--results", str(folder / "results")]
        command += ["--data-dir", str(data_dir)] if data_dir else []
        environment = os.environ | {"EBBENCH_HOME": str(folder / "home")}
        ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if ended.returncode != 0:
            raise BundleError(
                f"a run ended with exit code {ended.returncode}: {ended.stderr.strip()[-500:]}",
                where=f"results/{row[0].run_id}.json",
                expected="a run that ends",
                fix="ask its author",
            )
        made = {entry["result"]["seed"]: entry["result"]["metrics"] for entry in json.loads(ended.stdout)}
        for claimed in row:
            found[claimed.run_id] = made[claimed.seed]
        cls = loader.load("task", row[0].task.name).cls
        for metric in cls.metrics:
            if metric.primary and metric.name in row[0].metrics:
                theirs = [claimed.metrics[metric.name] for claimed in row]
                ours = [made[claimed.seed][metric.name] for claimed in row]
                checks.append(_repeated(f"results/{row[0].run_id}.json", metric.name, theirs, ours))
    return checks, found


def _unpacked(bundle: Bundle, folder: Path) -> Path:
    """The model's folder, written below `folder`; the names in a bundle are plain ones."""
    code = {
        name.removeprefix("model/"): text for name, text in bundle.texts.items() if name.startswith("model/")
    }
    if not code:
        raise BundleError(
            "there is no code in the bundle",
            where=bundle.path.name,
            expected="a model's folder, as `ebbench submit FOLDER` packs it",
            fix="leave out --rerun: samples that were made elsewhere can be recomputed, not reproduced",
        )
    model = folder / bundle.card.name
    for name, text in (code | {"card.toml": bundle.texts["card.toml"]}).items():
        write_atomically(model / name, text)
    return model


def _repeated(file: str, name: str, theirs: list[float], ours: list[float]) -> Check:
    """Whether the mean of `ours` lies where `theirs` predict it."""
    expected = stats.prediction(theirs, len(ours))
    mean = sum(ours) / len(ours)
    close = TOLERANCE * max(1.0, abs(mean), abs(expected.mean))
    low = expected.mean if expected.low is None else expected.low
    high = expected.mean if expected.high is None else expected.high
    shown = f"{mean:.6g}"
    wanted = f"in [{low:.6g}, {high:.6g}], where {len(theirs)} submitted seeds predict it"
    inside = low - close <= mean <= high + close
    cure = "submit more seeds" if expected.low is None else "ask its author for the hardware and versions"
    return Check(file, f"{name}, run again", shown, shown if inside else wanted, cure)


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
    trainings = {part.name: part.training for part in claimed.parts}
    with pinned():
        score, pictures, _ = replay(
            task,
            arrays,
            seed=claimed.seed,
            sampler=claimed.sampler.name if claimed.sampler else "",
            declared=claimed.score,
            evaluations={
                name: Curves(**trainings.get(name, claimed.training).evaluations.model_dump())
                for name in task.parts(claimed.seed)
            },
        )
    return score, pictures


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
