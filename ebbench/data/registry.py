"""The known data sets, from datasets.toml: names, sizes, SHA-256, addresses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file must contain: its size in bytes and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a data set, as published, usually compressed.

    `plain` is its decompressed form, which is equally valid, since many users have only that. Its name is the
    published one without `.gz`. An archive of many files has no such form.
    """

    name: str
    packed: Content
    plain: Content | None = None

    @property
    def forms(self) -> dict[str, Content]:
        """The accepted file names, and the required content of each."""
        unpacked = {self.name.removesuffix(".gz"): self.plain} if self.plain else {}
        return {self.name: self.packed} | unpacked


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set: its files, where to download them, and where other tools keep them.

    `mirrors` are addresses, tried in order; `{file}` stands for the file's name. `folders` are sub-folders in
    which other tools keep the same files (torchvision's "MNIST/raw").
    """

    name: str
    title: str
    source: str
    files: tuple[DataFile, ...]
    mirrors: tuple[str, ...]
    folders: tuple[str, ...] = ()


def _read(path: Path) -> dict[str, Dataset]:
    sets = tomllib.loads(path.read_text(encoding="utf-8"))["set"]
    return {entry["name"]: _dataset(**entry) for entry in sets}


def _dataset(*, file: list[dict[str, Any]], mirrors: list[str], folders: list[str], **words: str) -> Dataset:
    files = tuple(_file(**entry) for entry in file)
    return Dataset(files=files, mirrors=tuple(mirrors), folders=tuple(folders), **words)


def _file(name: str, size: int, sha256: str, plain: dict[str, Any] | None = None) -> DataFile:
    packed = Content(size=size, sha256=sha256)
    return DataFile(name=name, packed=packed, plain=Content(**plain) if plain else None)


DATASETS: Mapping[str, Dataset] = _read(Path(__file__).with_name("datasets.toml"))
