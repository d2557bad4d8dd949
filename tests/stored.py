"""A data set of two small files, and a mirror of it on this machine, for tests of the data store."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from ebbench.data import registry
from ebbench.data import store as store_module
from ebbench.data.downloading import Failed
from ebbench.data.registry import Content, DataFile, Dataset

PLAIN = {"first.gz": b"one " * 3000, "second.gz": bytes(range(256)) * 40}


PACKED = {name: gzip.compress(content, mtime=0) for name, content in PLAIN.items()}


def content(data: bytes) -> Content:
    return Content(size=len(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One data set of two files, and no network."""
    files = tuple(DataFile(name=n, packed=content(PACKED[n]), plain=content(PLAIN[n])) for n in PLAIN)
    entry = Dataset(
        name="toy",
        title="Toy",
        source="made here",
        files=files,
        mirrors=("https://one.invalid/{file}", "https://two.invalid/{file}"),
        folders=("TOY/raw",),
    )
    monkeypatch.setattr(registry, "DATASETS", {"toy": entry})
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    monkeypatch.delenv("EBBENCH_OFFLINE", raising=False)

    def no_network(address: str, *_: object) -> None:
        raise Failed(f"no network in tests: {address}")

    monkeypatch.setattr(store_module, "download", no_network)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A network that serves the toy files; the list of addresses that were asked for."""
    asked: list[str] = []

    def serve(address: str, target: Path, *_: object) -> None:
        asked.append(address)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(PACKED[address.rsplit("/", 1)[1]])

    monkeypatch.setattr(store_module, "download", serve)
    return asked


def fill(folder: Path, *, packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in PLAIN:
        (folder / (name if packed else name.removesuffix(".gz"))).write_bytes(
            (PACKED if packed else PLAIN)[name]
        )
    return folder
