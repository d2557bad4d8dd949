"""Carry finished results, their pictures and trained states to another machine in a pack, checked by hash."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ebbench.errors import BundleError, StorageError, UsageError
from ebbench.record import resultfiles
from ebbench.storage import runstore
from ebbench.storage.files import home
from ebbench.storage.hashing import content_hash
from ebbench.submissions import archives

NAME = r"[A-Za-z0-9][A-Za-z0-9._+=,@-]{0,250}"

RESULT = re.compile(rf"results/({NAME})/({NAME})/({NAME})\.json")

PICTURE = re.compile(rf"results/({NAME})/({NAME})/({NAME}\.png)")

STATE = re.compile(r"states/([0-9a-f]{64})/(state\.json|state-[0-9a-f]{16}\.safetensors)")

KIND = archives.Kind(
    what="pack",
    maker="ebbench results pack",
    format=1,
    names=re.compile("|".join(pattern.pattern for pattern in (RESULT, PICTURE, STATE))),
    required=(),
    most=lambda name: 4 << 30 if name.startswith("states/") else 64 << 20,
    most_entries=200_000,
    most_all=64 << 30,
    most_kept=8 << 30,
)


@dataclass(frozen=True)
class Unpacked:
    """What unpacking found, as names of entries: the results that are `new` here, and those `known` already.

    `states` is the number of trained states that are new here.
    """

    new: list[str]
    known: list[str]
    states: int


def pack(results: Path, out: Path, *, states: bool) -> tuple[int, int, int]:
    """Pack every result under `results` with its pictures; with `states`, the trained states as well.

    Return the numbers of results, pictures and states. Raises UsageError if there is no result, if a file is
    not a valid one or if a result has a tier, and StorageError if the run store lacks a trained state.
    """
    files, problems = resultfiles.load_files(results)
    if problems:
        raise UsageError(
            f"{len(problems)} files are not results: {problems[0].reason}",
            where=str(problems[0].path),
            expected="unchanged results of `ebbench run`",
            fix="correct or remove the file",
        )
    if not files:
        raise UsageError("there are no results", where=f"--results {results}", fix="`ebbench run` makes some")
    for path, made in files.items():
        if made.confirmed != "claimed":
            raise UsageError(
                f"a result has the tier '{made.confirmed}', and `ebbench results unpack` refuses it",
                where=str(path),
                expected="results of `ebbench run`",
                fix="pack a folder without submissions",
            )
    entries: dict[str, bytes] = {}
    hashes: set[str] = set()
    for path, made in files.items():
        folder = f"results/{made.task.name}/{made.model.name}"
        entries[f"{folder}/{made.run_id}.json"] = path.read_bytes()
        for picture in made.pictures.values():
            beside = path.with_name(picture)
            if beside.is_file():
                entries[f"{folder}/{picture}"] = beside.read_bytes()
        hashes |= made.trainings
    for name in entries:
        if not KIND.names.fullmatch(name):
            raise BundleError(
                f"'{name}' cannot go into a pack",
                where=str(results),
                expected="file names that `ebbench run` gives",
            )
    if states:
        for digest in sorted(hashes):
            entries |= _state(digest)
    archives.write(out, KIND, entries)
    counts = [len([name for name in entries if name.endswith(end)]) for end in (".png", "state.json")]
    return len(files), counts[0], counts[1]


def unpack(path: Path, results: Path) -> Unpacked:
    """Write the content of a pack to the results and the run store. Everything is checked before that.

    - A result that is here already must be the same to the byte.
    - A result with a tier is refused: only `ebbench verify` sets a tier.
    - Nothing checks that a trained state comes from the training whose hash it is stored under. So a pack is
      for your own machines only.

    Raises BundleError, StorageError, and UsageError for a result that is here with other content.
    """
    _, digests, kept = archives.read(path, KIND, lambda name: name.startswith("results/"))
    new, known = [], []
    pictures: set[str] = set()
    for name, content in kept.items():
        if not (match := RESULT.fullmatch(name)):
            continue
        made = resultfiles.parse(content, where=f"{path.name}: {name}")
        if match.groups() != (made.task.name, made.model.name, made.run_id):
            raise KIND.refused(
                path, f"{name} holds the run '{made.run_id}' of {made.model.name}", "its own name"
            )
        if made.confirmed != "claimed":
            raise KIND.refused(path, f"{name} has the tier '{made.confirmed}'", "results without a tier")
        pictures |= {f"{Path(name).parent}/{picture}" for picture in made.pictures.values()}
        target = results / Path(name).relative_to("results")
        if not target.exists():
            new.append(name)
        elif target.read_bytes() == content:
            known.append(name)
        else:
            raise UsageError(
                f"{made.run_id} exists already, with other content",
                where=str(target),
                expected="the same content, or no such file",
                fix="move one of them away; nothing was unpacked",
            )
    if strays := sorted(name for name in kept if PICTURE.fullmatch(name) and name not in pictures):
        raise KIND.refused(
            path,
            f"{strays[0]} is a picture, but its result is not in the pack",
            "the pictures of its results",
        )
    states = 0
    for name in digests:
        if match := STATE.fullmatch(name):
            place = home() / "runs" / match[1]
            # state.json is written last: without it, a trained state counts as absent.
            if match[2] != "state.json" and not (place / "state.json").exists():
                runstore.write(place / match[2], archives.entry(path, KIND, name))
    for name in digests:
        if (match := STATE.fullmatch(name)) and match[2] == "state.json":
            place = home() / "runs" / match[1]
            if not (place / match[2]).exists():
                runstore.write(place / match[2], archives.entry(path, KIND, name))
                states += 1
    for name, content in sorted(kept.items(), key=lambda entry: entry[0].endswith(".json")):
        target = results / Path(name).relative_to("results")
        if not target.exists():
            runstore.write(target, content)
    return Unpacked(new, known, states)


def _state(digest: str) -> dict[str, bytes]:
    """The entries of a trained state and of the states that it builds on, by name.

    A model that keeps no state has no entries. Raises StorageError if the training has not finished.
    """
    place = home() / "runs" / digest
    key = place / "key.json"
    unfinished = not key.exists() or any(place.glob("checkpoint*"))
    if unfinished and not (place / "state.json").exists():
        raise StorageError(
            f"the run store has no trained state {digest[:12]}",
            where=str(place),
            expected="the training that a result came from",
            fix="pack without --states, or give the result's command again",
        )
    base = json.loads(key.read_bytes()).get("base") if key.exists() else None
    files = sorted(place.glob("state*"))
    return {f"states/{digest}/{file.name}": file.read_bytes() for file in files} | (
        _state(content_hash(base)) if base else {}
    )
