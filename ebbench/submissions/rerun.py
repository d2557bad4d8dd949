"""Rerun the runs of a bundle on this machine, with the bundle's own code."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ebbench.data.store import Store
from ebbench.errors import BundleError
from ebbench.plugins import loader
from ebbench.record import resultfiles, schema
from ebbench.record.text import one_line
from ebbench.record.values import MOST_OF_A_SEED
from ebbench.running import words
from ebbench.running.request import Request, request_of
from ebbench.storage.files import write_atomically
from ebbench.submissions.agreement import audited, confirmed, same_machine, unchosen
from ebbench.submissions.bundles import Bundle
from ebbench.submissions.checking import Check
from ebbench.sweeps.executors import LocalProcesses, Resources


@dataclass(frozen=True)
class Rerun:
    """One run as it was made here: its result, and its pictures (PNG) by file name.

    `audit` belongs to the run's row. It holds the secret "seed" of one more run, and the "metrics" of that
    run.
    """

    result: schema.Result
    pictures: Mapping[str, bytes]
    audit: Mapping[str, Any] = field(default_factory=dict)


def rerun(
    bundle: Bundle,
    store: Store,
    data_dir: Path | None,
    folder: Path,
    seconds: float | None = None,
    *,
    boxed: bool = True,
) -> tuple[list[Check], dict[str, Rerun]]:
    """Train and score every run of the bundle here, with its own code. Each row runs in its own process.

    THIS RUNS THE CODE OF THE BUNDLE. It runs in processes that hold only the model (ebbench/apart). With
    `boxed`, each process is in a box; without it, the code may do whatever the user may. The model and its
    runs are written to `folder`. All runs together may take `seconds`.

    Return the checks, and the runs made here by run id. A board shows the numbers of these runs.

    - Each run must be the one that was submitted: the hashes of training and scoring are the same.
    - The metrics of each row must agree with the claims (`agreement.confirmed`).
    - Each row that agrees is run once more, with a random seed that only this process knows. The other runs
      must predict its metrics (`agreement.audited`).

    Raises BundleError if the bundle has no code, or if a run fails or does not end in time.
    """
    runs = _Runs(folder, store, data_dir, seconds, boxed)
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
    known = {claimed.seed for claimed in bundle.results.values()}
    for row in rows.values():
        request, where = request_of(row[0], model=str(model)), f"results/{row[0].run_id}.json"
        made = runs.make(request, [claimed.seed for claimed in row], "results", where)
        for claimed in row:
            file = f"results/{claimed.run_id}.json"
            path, again = made.get(claimed.run_id, (None, None))
            checks.append(
                Check(file, "run_id, run again", claimed.run_id if again else "none", claimed.run_id)
            )
            if path is not None and again is not None:
                for part in ("training", "scoring"):
                    ours, theirs = getattr(again, part).hash, getattr(claimed, part).hash
                    checks.append(Check(file, f"{part}.hash", theirs, ours, "submit the runs of this code"))
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
        checks += confirmed(theirs_, ours_, cls.metrics, cls.limits, exact=exact, file=where)
        if not all(check.good for check in checks):
            # The bundle is refused already, so an audit would cost time for nothing.
            continue
        while (seed := secrets.randbelow(MOST_OF_A_SEED + 1)) in known:
            pass
        known.add(seed)
        made = runs.make(request, [seed], "audits", where)
        (audit,) = (dict(one.metrics) for _, one in made.values() if one.seed == seed)
        checks += audited(audit, ours_, cls.metrics, cls.limits, file=where)
        for claimed in row:
            told = {"seed": seed, "metrics": audit}
            found[claimed.run_id] = replace(found[claimed.run_id], audit=told)
    return checks, found


class _Runs:
    """Makes runs in their own processes, below `folder`. All runs together may take `seconds`."""

    def __init__(
        self, folder: Path, store: Store, data_dir: Path | None, seconds: float | None, boxed: bool
    ) -> None:
        self._folder, self._seconds = folder, seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._words = ["--quiet", "--isolated", *([] if boxed else ["--unboxed"])]
        self._words += ["--data-dir", str(data_dir)] if data_dir else []
        # The runs get their own run store, but use the data sets of this machine.
        self._environment = os.environ | {"EBBENCH_HOME": str(folder / "home")}
        if store.cache.is_dir():
            self._environment.setdefault("EBBENCH_DATA", str(store.cache))

    def make(
        self, request: Request, seeds: Iterable[int], name: str, where: str
    ) -> dict[str, tuple[Path, schema.Result]]:
        """Run a request with each of `seeds`, with results in the folder `name`.

        Return the file and the result of every run in that folder, by run id. Raises BundleError, which
        names `where`, if a run fails or does not end in time.
        """
        command = words.run_command(request, ",".join(map(str, seeds)))
        command += ["--results", str(self._folder / name), *self._words]
        log = self._folder / "rerun.log"
        code = _ended(command, self._environment, log, self._end)
        if code is None:
            raise BundleError(
                "the runs of the bundle did not end within the time limit",
                where=where,
                expected=f"all runs within {self._seconds:g} s",
                fix="give a longer --time-limit, or verify without --rerun; nothing was added",
            )
        if code != 0:
            said = one_line(log.read_text(encoding="utf-8", errors="replace")[-500:])
            raise BundleError(
                f"a run ended with exit code {code}: {said}",
                where=where,
                expected="a run that ends with exit code 0",
                fix="ask the author of the bundle",
            )
        found, _ = resultfiles.load_files(self._folder / name)
        return {one.run_id: (path, one) for path, one in found.items()}


def _trained_on(made: schema.Result) -> schema.Provenance:
    return made.training.provenance or made.provenance


def _unrounded(bundle: Bundle, run_id: str) -> bool:
    """Whether all arrays of a run are float32. Images rounded to bytes can change a metric."""
    arrays = bundle.arrays(run_id)
    return all(arrays.header(name)[1] == np.float32 for name in arrays)


def _ended(command: list[str], environment: Mapping[str, str], log: Path, end: float | None) -> int | None:
    """Run a command, and end every process that it started.

    Return its exit code, or None if it had not ended by `end` (a time of `time.monotonic`).
    """
    executor = LocalProcesses()
    handle = executor.submit(command, environment, Resources(), log)
    try:
        while (code := handle.poll()) is None:
            if end is not None and time.monotonic() > end:
                return None
            executor.wait([handle])
        return code
    finally:
        handle.end()


def unpacked(bundle: Bundle, folder: Path) -> Path:
    """Write the model's folder of a bundle below `folder`, and return it. Raises BundleError without code.

    The names in a checked bundle are plain file names, so no file can land elsewhere.
    """
    code = code_of(bundle)
    if not code:
        raise BundleError(
            "there is no code in the bundle",
            where=bundle.path.name,
            expected="a model's folder, as `ebbench submit FOLDER` packs it",
            fix="leave out --rerun: samples without code can be recomputed, but not reproduced",
        )
    model = folder / bundle.card.name
    for name, text in (code | {"card.toml": bundle.texts["card.toml"]}).items():
        write_atomically(model / name, text)
    return model


def code_of(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of the bundle's folder "model", by their names inside that folder."""
    return {
        name.removeprefix("model/"): text for name, text in bundle.texts.items() if name.startswith("model/")
    }


def code_hash(bundle: Bundle) -> str:
    """The hash of the bundle's code, or "" if it has none. The code does not run."""
    if not code_of(bundle):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        return loader.Plugin("model", unpacked(bundle, Path(folder))).code_hash
