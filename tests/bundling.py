"""Bundles for tests: the words that make them, and how to change what is in one."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ebbench.isolation.box import why_not
from ebbench.plugins import loader

# Where this machine makes no box, a rerun has to be told to do without.
UNBOXED = ["--unboxed"] if why_not() else []


RUN = ["--task", "dots", "--model", "./mine", "--budget", "smoke", "--seeds", "0-4"]


CARD = 'name = "afar"\ntitle = "From afar"\n'


def rewritten(bundle: Path, change: Callable[[dict[str, bytes]], None], *, honest: bool = True) -> Path:
    """The bundle with its entries changed, and a manifest that fits them if it is `honest`."""
    with zipfile.ZipFile(bundle) as packed:
        entries = {name: packed.read(name) for name in packed.namelist()}
    change(entries)
    if honest:
        entries.pop("manifest.json")
        files = {name: hashlib.sha256(content).hexdigest() for name, content in entries.items()}
        entries["manifest.json"] = json.dumps({"format": 1, "files": files}).encode()
    other = bundle.with_name("other.zip")
    with zipfile.ZipFile(other, "w") as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return other


def edited(entries: dict[str, bytes], change: Callable[[dict], None]) -> None:
    name = next(name for name in sorted(entries) if name.startswith("results/"))
    raw = json.loads(entries[name])
    change(raw)
    entries[name] = json.dumps(raw).encode()


def put(entries: dict[str, bytes], name: str, array: np.ndarray) -> None:
    """Make this the only array of the first artefacts."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array})
    entries[first(entries, "artefacts")] = buffer.getvalue()


def first(entries: dict[str, bytes], kind: str) -> str:
    return next(name for name in sorted(entries) if name.startswith(kind))


def code_of(entries: dict[str, bytes]) -> str:
    """The hash of the code in the entries of a bundle, as the engine hashes a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "mine"
        folder.mkdir()
        (folder / "card.toml").write_bytes(entries["card.toml"])
        for name in [name for name in entries if name.startswith("model/")]:
            (folder / name.removeprefix("model/")).write_bytes(entries[name])
        return loader.Plugin("model", folder).code_hash


def made_elsewhere(folder: Path, n: int = 100, **arrays: np.ndarray) -> list[str]:
    """The words of a submission of samples alone, two seeds."""
    (folder / "card.toml").write_text(CARD)
    words = ["submit", "--task", "dots", "--card", "card.toml", "--quiet"]
    for seed in range(2):
        x = np.random.default_rng(seed).random((n, 2), dtype=np.float32)
        np.savez(folder / f"{seed}.npz", **(arrays or {"samples": x}))
        words += ["--samples", f"{seed}.npz"]
    return words
