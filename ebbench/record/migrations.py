"""Migrates a result from an older schema version to the current one."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping

from ebbench.errors import ResultError
from ebbench.record.schema import SCHEMA_VERSION, Raw


def _from_1(raw: Raw) -> Raw:
    """Version 2 adds parts, a declared score and evaluations during training; older results have none."""
    return {**raw, "score": "", "parts": []}


def _from_2(raw: Raw) -> Raw:
    """Version 3 adds a hash of the task's code, what the hashes cover, and the engine's version."""
    task = raw.get("task")
    if isinstance(task, dict):
        task = {**task, "code_hash": "", "data_code_hash": ""}
    return {**raw, "task": task, "hash_kind": "files", "engine": 0}


# Maps a version to the function that migrates a parsed JSON object to the next version.
MIGRATIONS: dict[int, Callable[[Raw], Raw]] = {1: _from_1, 2: _from_2}


def migrate(
    raw: Raw,
    table: Mapping[int, Callable[[Raw], Raw]] | None = None,
    *,
    current: int = SCHEMA_VERSION,
    where: str = "",
) -> Raw:
    """Migrate `raw` to schema version `current`, step by step.

    `table` maps a version to the function that leads to the next one (default: `MIGRATIONS`). Raises
    ResultError for a version that is missing, newer than `current`, or cannot be migrated.
    """
    table = MIGRATIONS if table is None else table
    expected = f"schema_version {current} or an older one"
    version = raw.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        # A version that is not a number may be anything, and long.
        found = "no schema_version" if version is None else f"schema_version {reprlib.repr(version)}"
        raise ResultError(f"a result with {found}", where=where, expected=expected)
    if version > current:
        raise ResultError(
            f"a result with schema_version {version}, which this version of ebbench does not know",
            where=where,
            expected=expected,
            fix="upgrade ebbench",
        )
    while version < current:
        if version not in table:
            raise ResultError(
                f"a result with schema_version {version}, which ebbench cannot convert",
                where=where,
                expected=expected,
            )
        version += 1
        raw = {**table[version - 1](dict(raw)), "schema_version": version}
    return raw
