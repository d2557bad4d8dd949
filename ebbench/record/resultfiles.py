"""Reads, writes and finds result files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbench.errors import ResultError, StorageError, UsageError, shown, unknown
from ebbench.record.migrations import migrate
from ebbench.record.schema import SCHEMA_VERSION, Raw, Result, build, canonical
from ebbench.storage.files import absolute, write_atomically


@dataclass(frozen=True)
class Problem:
    """A file among the results that is not a result, and the reason."""

    path: Path
    reason: str


def results_to_read(results: str | os.PathLike[str]) -> Path:
    """The folder of results, which need not be there. Raises UsageError for a file."""
    folder = absolute(os.fspath(results), "--results")
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"{shown(folder)} is a file",
            where="--results",
            expected="a folder of results",
            fix="name another",
        )
    return folder


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


def _without_doubles(pairs: list[tuple[str, Any]]) -> Raw:
    # Parsers differ on duplicate keys, so the value that was checked might not be the one that is shown.
    made = dict(pairs)
    if len(made) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"key '{twice}' appears twice")
    return made


def read(path: str | os.PathLike[str]) -> Result:
    """The result in the file `path`, migrated to the current schema.

    Raises StorageError if the file cannot be read, and ResultError if it holds no result.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"the result cannot be read: {error.strerror or error}",
            where=str(path),
            expected="a readable JSON file",
        ) from error
    return parse(text, where=str(path))


def parse(text: bytes, *, where: str) -> Result:
    """The result in `text`, migrated to the current schema. Raises ResultError."""
    try:
        raw = json.loads(text.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_without_doubles)
        if b"\\u" in text:
            # JSON can escape half of a surrogate pair, which cannot be written: a UnicodeEncodeError.
            json.dumps(raw, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ResultError(
            f"the result is not JSON: {error}", where=where, expected="one JSON object in UTF-8"
        ) from error
    if not isinstance(raw, dict):
        raise ResultError(f"the result is a JSON {type(raw).__name__}", where=where, expected="a JSON object")
    try:
        return build(migrate(raw, where=where), where=where)
    except RecursionError as error:
        raise ResultError(
            "the result is nested too deeply", where=where, expected=f"schema version {SCHEMA_VERSION}"
        ) from error


def write(result: Result, path: str | os.PathLike[str]) -> None:
    """Write `result` to `path` atomically, creating the folder if necessary.

    Raises StorageError if the folder cannot be written or the disk is full; an existing file then stays as it
    was.
    """
    path = Path(path)
    data = (canonical(result.model_dump(mode="json")) + "\n").encode("utf-8")
    try:
        write_atomically(path, data)
    except OSError as error:
        raise StorageError(
            f"the result cannot be written: {error.strerror or error}",
            where=str(path),
            expected="a folder that can be written, on a disk with space",
            fix="free some space or choose another folder with --results; then repeat the command",
        ) from error


def result_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files under `folder` that should be results, sorted; empty without the folder.

    Hidden files and folders are skipped.
    """
    folder = Path(folder)
    return [
        path
        for path in sorted(folder.rglob("*.json"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def load_all(folder: str | os.PathLike[str]) -> tuple[list[Result], list[Problem]]:
    """Every result under `folder`, sorted by path, and every JSON file that is not a result."""
    files, problems = load_files(folder)
    return list(files.values()), problems


def load_files(folder: str | os.PathLike[str]) -> tuple[dict[Path, Result], list[Problem]]:
    """As `load_all`, by file."""
    results: dict[Path, Result] = {}
    problems: list[Problem] = []
    for path in result_files(folder):
        try:
            results[path] = read(path)
        except (ResultError, StorageError) as error:
            problems.append(Problem(path, error.what))
    for path, other in _twice(results, Path(folder)):
        del results[path]
        problems.append(Problem(path, f"the same run is in {other.relative_to(folder)}"))
    return results, problems


def _twice(results: Mapping[Path, Result], folder: Path) -> list[tuple[Path, Path]]:
    """Files whose run is also in another file, with that other file: the one at the run's own place."""
    runs: dict[tuple[str, str, str], list[Path]] = {}
    for path, result in results.items():
        runs.setdefault((result.task.name, result.model.name, result.run_id), []).append(path)
    found = []
    for (task, model, run_id), paths in runs.items():
        own = folder / task / model / f"{run_id}.json"
        kept = own if own in paths else paths[0]
        found += [(path, kept) for path in paths if path != kept]
    return found


def find(name: str, folder: str | os.PathLike[str]) -> Result:
    """The result with a file name or run id among the results in `folder`. Raises UsageError without one."""
    if name.endswith(".json"):
        return read(name)
    found, _ = load_all(folder)
    for result in found:
        if result.run_id == name:
            return result
    known = {result.run_id for result in found}
    wrong = unknown("result", name, known)
    # A board has hundreds, each with a long name.
    raise UsageError(
        wrong.what,
        where=f"--results {folder}",
        expected=f"a result file, or the run id of one of the {len(known):,} results that are there",
        fix=wrong.fix or "a result's file is named after its run id; `ebbench run` prints where it lies",
    )
