#!/usr/bin/env python3
"""Pin the code of the tasks and of the engine against their versions: tests/golden/code-versions.json.

    python scripts/pin_versions.py

A change that can move a number has to raise a version: a task's `version` in its task.py, or `ENGINE` in
ebbench/contract.py. tests/unit/test_versions.py fails where code has changed and its version has not. Where
no number can move, or the version has been raised, this script writes the new hashes. It says what has
changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ebbench import contract
from ebbench.plugins import loader
from ebbench.plugins.canonical import canonical_hash

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tests" / "golden" / "code-versions.json"
# The code between the data and a model, and between a model and its numbers.
ENGINE = (
    "data/pool.py",
    "device.py",
    "running/chunks.py",
    "running/scorer.py",
    "running/scoring.py",
    "running/seeds.py",
    "running/sources.py",
    "running/trainer.py",
    "running/training.py",
    "storage/hashing.py",
)


def today() -> dict[str, dict[str, Any]]:
    """The version and the hashes of each task, and of the engine's files, as the checkout has them."""
    found: dict[str, dict[str, Any]] = {}
    for name in loader.names("task"):
        plugin = loader.load("task", name)
        found[name] = {
            "version": plugin.cls.version,
            "code_hash": plugin.code_hash,
            "data_code_hash": plugin.data_code_hash,
        }
    files = {name: canonical_hash((ROOT / "ebbench" / name).read_bytes()) for name in ENGINE}
    return found | {"engine": {"version": contract.ENGINE, **files}}


def changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """What differs between the two, for each task and for the engine."""
    return {
        name: differing
        for name in sorted(before | after)
        if (
            differing := sorted(
                key
                for key in before.get(name, {}) | after.get(name, {})
                if before.get(name, {}).get(key) != after.get(name, {}).get(key)
            )
        )
    }


def main() -> None:
    """Write the pins."""
    before = json.loads(PINS.read_text(encoding="utf-8")) if PINS.exists() else {}
    after = today()
    PINS.write_text(json.dumps(after, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name, keys in changes(before, after).items():
        print(f"{name} (version {after.get(name, {}).get('version', 'none')}): {', '.join(keys)}")
    if before == after:
        print("nothing has changed")


if __name__ == "__main__":
    main()
