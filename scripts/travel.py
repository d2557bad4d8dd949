#!/usr/bin/env python3
"""Carry the trainings that a plan still needs from one lent machine to the next, in parts of 15 MiB.

    python3 scripts/travel.py leave PLAN RESULTS OUT    over there: what the plan goes on with, into OUT
    python3 scripts/travel.py rest OUT                  over there: the parts that had no room before
    python3 scripts/travel.py take FOLDER               on the next machine: parts, into the run store

`scripts/away` calls all three. The trainings are those of the runs without a result, in the plan's order: the
checkpoint of one that goes on, or the trained state of one that is to be scored, and what it builds on. They
make one tar file, whose parts are named by its SHA-256 and their number. OUT takes at most 8 files and 64 MiB
in all, with what lies there already. Parts may come in several calls: what the first ones hold whole is put
into the run store at once. A training that is in the store is never overwritten.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

# What comes back of one call (files, bytes), and the bytes of a part, which may have 16 MiB.
MOST_FILES, MOST_BYTES, PART = 8, 64 * 2**20, 15 * 2**20
PART_NAME = re.compile(r"store\.([0-9a-f]{16})\.(\d{3})-(\d{3})")


def home() -> Path:
    """The folder of the run store."""
    return Path(os.environ["EBBENCH_HOME"])


def needed(plan: Path, results: Path) -> Iterator[tuple[str, str]]:
    """What the runs of `plan` without a result are trained by, in its order, each once: hash and label."""
    from ebbench.data.store import Store
    from ebbench.running.identity import identify
    from ebbench.sweeps.plan import read_plan
    from ebbench.sweeps.summary import Summary
    from ebbench.sweeps.work import Tasks, runs_left

    tasks, seen = Tasks(Store(None)), set()
    for run in runs_left(read_plan(plan), results.absolute(), tasks, [], Summary()):
        spec, seed = run.job.spec, run.job.seed
        for part in tasks.of(spec).parts(seed).values():
            chain, identity = [], identify(spec, part, seed)
            while identity is not None:
                chain.append(identity.training)
                identity = identity.base
            # Its base comes first, because it is useless without it.
            for training in reversed(chain):
                if training not in seen:
                    seen.add(training)
                    yield training, run.job.label()


def files_of(place: Path) -> list[Path]:
    """The state from which a training goes on: trained, else its checkpoint; none if it has neither.

    The sidecar, which makes the rest count, comes last.
    """
    for kind in ("state", "checkpoint"):
        sidecar = place / f"{kind}.json"
        if sidecar.exists():
            return [place / "key.json", *sorted(place.glob(f"{kind}-*.safetensors")), sidecar]
    return []


def leave(plan: Path, results: Path, out: Path) -> None:
    """Pack what is needed, and put as much of it into `out` as fits."""
    waiting = home() / "leaving"
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(parents=True)
    packed = waiting / "store.tar"
    with tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as tar:
        for training, label in needed(plan, results):
            files = files_of(home() / "runs" / training)
            for path in files:
                # A new entry, because a file's own entry names its owner.
                entry = tarfile.TarInfo(f"{training}/{path.name}")
                entry.size = path.stat().st_size
                with open(path, "rb") as file:
                    tar.addfile(entry, file)
            if files:
                size = sum(path.stat().st_size for path in files)
                print(f"packed: {files[-1].stem} of {label}, {training[:10]}, {size / 2**20:.1f} MiB")
        empty = not tar.getmembers()
    if not empty:
        digest = _sha256(packed)[:16]
        n = -(-packed.stat().st_size // PART)
        with open(packed, "rb") as whole:
            for number in range(n):
                (waiting / f"store.{digest}.{number:03}-{n:03}").write_bytes(whole.read(PART))
    packed.unlink()
    rest(out)


def rest(out: Path) -> None:
    """Move as many waiting parts into `out` as fit, and print what does not fit."""
    waiting = sorted((home() / "leaving").glob("store.*"))
    there = [path for path in out.rglob("*") if path.is_file()]
    files, room = MOST_FILES - len(there), MOST_BYTES - sum(path.stat().st_size for path in there)
    moved = 0
    for path in waiting:
        room -= path.stat().st_size
        if moved == files or room < 0:
            break
        shutil.move(path, out / path.name)
        moved += 1
    print(f"store: {moved} parts left in $OUT")
    if moved < len(waiting):
        size = sum(path.stat().st_size for path in waiting[moved:])
        print(
            f"store: {len(waiting) - moved} parts ({size / 2**20:.0f} MiB) did not fit and are lost with "
            "this machine: `scripts/away rest` at once brings the next ones"
        )


def take(folder: Path) -> None:
    """Put the trainings of the parts in `folder`, and of those that came before, into the run store."""
    kept = home() / "parts"
    kept.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("store.*")):
        if not PART_NAME.fullmatch(path.name):
            raise SystemExit(f"{path}: no part of a run store (expected store.<hash>.<number>-<how many>)")
        shutil.copyfile(path, kept / path.name)
    sets: dict[tuple[str, int], dict[int, Path]] = {}
    for path in sorted(kept.iterdir()):
        if match := PART_NAME.fullmatch(path.name):
            sets.setdefault((match[1], int(match[3])), {})[int(match[2])] = path
    for (digest, n), parts in sets.items():
        first = [parts[number] for number in range(n) if set(range(number + 1)) <= parts.keys()]
        content = b"".join(path.read_bytes() for path in first)
        if len(first) == n and hashlib.sha256(content).hexdigest()[:16] != digest:
            raise SystemExit(
                f"{first[0]}: the parts of this store are damaged; carry them again, or without them"
            )
        new, known = _unpack(content)
        print(f"store {digest}: {len(first)} of {n} parts, {new} trainings taken up, {known} here already")
        if len(first) < n:
            print(
                f"store {digest}: parts are missing from number {len(first)} on; what they hold is made anew"
            )


def _unpack(content: bytes) -> tuple[int, int]:
    """Put complete trainings into the run store. Return how many are new, and how many were here."""
    runs, held, here = home() / "runs", {}, set()
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                training, _, name = member.name.partition("/")
                if not re.fullmatch(r"[0-9a-f]+", training) or not re.fullmatch(r"[\w.-]+", name):
                    raise SystemExit(
                        f"a part of a run store holds {member.name!r}, which is no training's file"
                    )
                file = tar.extractfile(member)
                held.setdefault(training, {})[name] = file.read() if file is not None else b""
    except tarfile.ReadError:
        pass  # cut off in the middle of a file: the parts that follow are not here
    whole = {k: v for k, v in held.items() if {"state.json", "checkpoint.json"} & v.keys()}
    for training, files in whole.items():
        place = runs / training
        if any((place / name).exists() for name in ("state.json", "checkpoint.json")):
            here.add(training)
            continue
        place.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            # The sidecar comes last, by a rename: an interrupted call leaves no partial state in the store.
            (place / f".{name}.tmp").write_bytes(data)
            (place / f".{name}.tmp").rename(place / name)
    return len(whole) - len(here), len(here)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(words: list[str]) -> None:
    """Run the command that `words` give."""
    match words:
        case ["leave", plan, results, out]:
            leave(Path(plan), Path(results), Path(out))
        case ["rest", out]:
            rest(Path(out))
        case ["take", folder]:
            take(Path(folder))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
