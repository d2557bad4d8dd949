"""A bundle's runs made again here, by its own code."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ebbench.data.store import Store
from ebbench.errors import BundleError
from ebbench.plugins import loader
from ebbench.record import resultfiles, schema
from ebbench.record.text import one_line
from ebbench.running import words
from ebbench.running.request import request_of
from ebbench.storage.files import write_atomically
from ebbench.submissions.agreement import confirmed, same_machine, unchosen
from ebbench.submissions.bundles import Bundle
from ebbench.submissions.checking import Check
from ebbench.sweeps.executors import LocalProcesses


@dataclass(frozen=True)
class Rerun:
    """One run as it was made here: its result, and its pictures, PNG, by file name."""

    result: schema.Result
    pictures: Mapping[str, bytes]


def rerun(
    bundle: Bundle,
    store: Store,
    data_dir: Path | None,
    folder: Path,
    seconds: float | None = None,
    *,
    boxed: bool = True,
) -> tuple[list[Check], dict[str, Rerun]]:
    """Train and score every run of the bundle here, by its own code, each row in a process of its own.

    THIS RUNS THE CODE OF THE BUNDLE: in processes that hold the model alone (ebbench/apart), each in a box,
    or, without `boxed`, with all that its user may. The model and its runs go to `folder`. Gives the checks,
    and the runs as they were made here by run id: their numbers are what a board shows. All of it may take
    `seconds`. A run must be the run that was submitted (the same hashes of training and scoring), and the
    metrics of each row must agree (`agreement.confirmed`). Raises BundleError where there is no code, or it
    does not run, or not in time.
    """
    end = None if seconds is None else time.monotonic() + seconds
    model = unpacked(bundle, folder)
    rows: dict[str, list[schema.Result]] = {}
    for claimed in bundle.results.values():
        rows.setdefault(claimed.row_key(), []).append(claimed)
    checks = [
        unchosen(f"results/{row[0].run_id}.json", [claimed.seed for claimed in row]) for row in rows.values()
    ]
    found: dict[str, Rerun] = {}
    if not all(check.good for check in checks):
        return checks, found
    for row in rows.values():
        seeds = ",".join(str(claimed.seed) for claimed in row)
        command = words.run_command(request_of(row[0], model=str(model)), seeds)
        command += ["--quiet", "--results", str(folder / "results")]
        command += ["--data-dir", str(data_dir)] if data_dir else []
        # A run store of its own, but the data that are here.
        environment = os.environ | {"EBBENCH_HOME": str(folder / "home")}
        if store.cache.is_dir():
            environment.setdefault("EBBENCH_DATA", str(store.cache))
        command += ["--isolated"] if boxed else ["--isolated", "--unboxed"]
        log = folder / "rerun.log"
        code = _ended(command, environment, log, end)
        if code is None:
            raise BundleError(
                "its runs had not ended by the time limit",
                where=f"results/{row[0].run_id}.json",
                expected=f"all runs within {seconds:g} s",
                fix="give a longer --time-limit, or verify without --rerun; nothing was added",
            )
        if code != 0:
            said = one_line(log.read_text(encoding="utf-8", errors="replace")[-500:])
            raise BundleError(
                f"a run ended with exit code {code}: {said}",
                where=f"results/{row[0].run_id}.json",
                expected="a run that ends",
                fix="ask its author",
            )
        made = {
            one.run_id: (path, one) for path, one in resultfiles.load_files(folder / "results")[0].items()
        }
        for claimed in row:
            file = f"results/{claimed.run_id}.json"
            path, again = made.get(claimed.run_id, (None, None))
            checks.append(
                Check(file, "run_id, run again", claimed.run_id if again else "none", claimed.run_id)
            )
            if path is not None and again is not None:
                for field in ("training", "scoring"):
                    ours, theirs = getattr(again, field).hash, getattr(claimed, field).hash
                    checks.append(Check(file, f"{field}.hash", theirs, ours, "submit the runs of this code"))
                beside = {name: path.with_name(name).read_bytes() for name in again.pictures.values()}
                found[claimed.run_id] = Rerun(again, beside)
        if not all(claimed.run_id in found for claimed in row):
            continue
        cls = loader.load("task", row[0].task.name).cls
        theirs_ = {claimed.seed: claimed.metrics for claimed in row}
        ours_ = {claimed.seed: found[claimed.run_id].result.metrics for claimed in row}
        exact = all(
            same_machine(_trained_on(claimed), _trained_on(found[claimed.run_id].result))
            and _unrounded(bundle, claimed.run_id)
            for claimed in row
        )
        checks += confirmed(
            theirs_, ours_, cls.metrics, cls.limits, exact=exact, file=f"results/{row[0].run_id}.json"
        )
    return checks, found


def _trained_on(made: schema.Result) -> schema.Provenance:
    return made.training.provenance or made.provenance


def _unrounded(bundle: Bundle, run_id: str) -> bool:
    """Whether the arrays of a run lost nothing that could move a metric, as images do that became bytes."""
    arrays = bundle.arrays(run_id)
    return all(arrays.header(name)[1] == np.float32 for name in arrays)


def _ended(command: list[str], environment: Mapping[str, str], log: Path, end: float | None) -> int | None:
    """Run a command and end all that it started; its exit code, None where it had not ended by `end`."""
    executor = LocalProcesses()
    process = executor.submit(command, environment, log)
    try:
        while (code := process.exit_code()) is None:
            if end is not None and time.monotonic() > end:
                return None
            executor.wait([process])
        return code
    finally:
        process.end()


def unpacked(bundle: Bundle, folder: Path) -> Path:
    """The model's folder, written below `folder`; the names in a bundle are plain ones."""
    code = code_of(bundle)
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


def code_of(bundle: Bundle) -> dict[str, bytes]:
    return {
        name.removeprefix("model/"): text for name, text in bundle.texts.items() if name.startswith("model/")
    }


def code_hash(bundle: Bundle) -> str:
    """The hash of the bundle's code, of which nothing is run; "" where there is none."""
    if not code_of(bundle):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        return loader.Plugin("model", unpacked(bundle, Path(folder))).code_hash
