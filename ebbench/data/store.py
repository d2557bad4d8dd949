"""The store of data files: find, verify, import, download.

What a data set is stands in registry.py. Every file is checked before it is used; nothing is downloaded
unless a caller asks for the file. This module imports no numpy and no torch.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ebbench.contract import FileStatus
from ebbench.data.registry import DATASETS, Content, DataFile, Dataset
from ebbench.errors import DataError, DataMissing, StorageError, unknown
from ebbench.storage.files import home

# Seconds without an answer, or without a byte, after which a mirror counts as out of reach.
TIMEOUT = 6.0

BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Imported:
    """One file that `Store.import_path` took: where it came from and where it lies now."""

    dataset: str
    file: str
    origin: Path
    path: Path


@dataclass(frozen=True)
class _Place:
    """A folder that is searched. In the user's folders nothing is ever written or renamed."""

    label: str
    folder: Path
    ours: bool


class Store:
    """Where data files come from.

    With `data_dir` only that folder is searched, and what it lacks is an error. Without it: the
    folder in the environment's EBBENCH_DATA, then the user's cache (`$EBBENCH_HOME/data`, or the
    platform's cache folder), then, unless `offline` or the environment's EBBENCH_OFFLINE is set, a
    download into the cache. A folder may hold the files itself, in a sub-folder named after the
    data set, or where torchvision keeps them.

    Raises `DataError` for a folder that does not exist.
    """

    def __init__(self, data_dir: Path | None = None, *, offline: bool = False) -> None:
        self.data_dir = data_dir
        self.offline = offline or os.environ.get("EBBENCH_OFFLINE", "") not in ("", "0")
        self._places: list[_Place] = []
        if data_dir is not None:
            self._places.append(_Place("--data-dir", _existing(Path(data_dir), "--data-dir"), ours=False))
        else:
            if shared := os.environ.get("EBBENCH_DATA"):
                self._places.append(
                    _Place("EBBENCH_DATA", _existing(Path(shared), "EBBENCH_DATA"), ours=False)
                )
            self._places.append(_Place("cache", self.cache, ours=True))

    @property
    def cache(self) -> Path:
        """The folder that downloads and imports go to; it need not exist yet."""
        return home() / "data"

    def path(self, dataset: str, file: str) -> Path:
        """The verified file called `file` (its published name), packed or unpacked.

        It is downloaded if it has to be. Raises `DataError` for a bad file in a user's folder and
        for a `data_dir` without it, `DataMissing` where it cannot be had, and `StorageError`.
        """
        entry = _dataset(dataset)
        wanted = {one.name: one for one in entry.files}
        if file not in wanted:
            raise unknown(f"file of data set {dataset}", file, wanted)
        found = self._find(entry, wanted[file])
        if found is not None:
            return found
        if self.data_dir is not None:
            raise DataError(
                f"{dataset}: {file} is not in the given folder",
                where=f"--data-dir {self.data_dir}",
                expected=" or ".join(
                    str(Path(*folder, file)) for folder in ((dataset,), (), *((f,) for f in entry.folders))
                ),
                fix="put the file there, name another folder, or leave --data-dir out: "
                "ebbench then looks in EBBENCH_DATA and its own cache, and downloads what is missing",
            )
        return self._download(entry, wanted[file])

    def paths(self, dataset: str) -> dict[str, Path]:
        """Every file of a data set by its published name; as `path`."""
        return {file.name: self.path(dataset, file.name) for file in _dataset(dataset).files}

    def hashes(self, dataset: str) -> dict[str, str]:
        """The SHA-256 of each published file, whichever form of it is in use."""
        return {file.name: file.packed.sha256 for file in _dataset(dataset).files}

    def survey(self, dataset: str) -> list[FileStatus]:
        """What is here of a data set. Every file is read and checked; nothing is changed."""
        entry = _dataset(dataset)
        return [self._status(entry, file) for file in entry.files]

    def import_path(self, path: Path) -> list[Imported]:
        """Copy the data files in `path` (a file, or a folder with all below it) into the cache.

        Files are recognised by their content, not by their names: as published, unpacked, or
        packed anew. Raises `DataError` when nothing is recognised.
        """
        if path.is_file():
            candidates = [path]
        elif path.is_dir():
            candidates = sorted(inner for inner in path.rglob("*") if inner.is_file())
        else:
            raise DataError(
                "there is nothing to import", where=str(path), expected="a data file or a folder of them"
            )
        imported = []
        for candidate in candidates:
            recognised = _recognise(candidate)
            if recognised is not None:
                entry, file, form = recognised
                target = self.cache / entry.name / form
                with _opened(candidate, unpack=form != file.name) as source:
                    problem = _write(source, target, file.forms[form])
                if problem:
                    raise DataError("the file changed while it was copied", where=str(candidate), fix=problem)
                imported.append(Imported(dataset=entry.name, file=file.name, origin=candidate, path=target))
        if not imported:
            known = ", ".join(f"{file.name} ({e.name})" for e in DATASETS.values() for file in e.files)
            found = (
                f"{len(candidates)} files, none of them known"
                if path.is_dir()
                else f"{path.stat().st_size:,} bytes, SHA-256 {_sha256(path)}"
            )
            raise DataError(
                f"nothing in {path} is a known data file: {found}",
                where=str(path),
                expected=f"the content of one of {known}, packed or unpacked",
                fix="compare with `ebbench data list --json`, which gives sizes and SHA-256; "
                "a file that was cut short or altered must be fetched again",
            )
        return imported

    def _find(self, entry: Dataset, file: DataFile) -> Path | None:
        for place in self._places:
            for path, content in _candidates(place, entry, file):
                problem = check(path, content)
                if not problem:
                    return path
                if not place.ours:
                    raise _bad(entry, path, place, problem)
                aside = _set_aside(path)
                _say(f"{entry.name}: {path.name} in the cache is bad ({problem}); kept aside as {aside}")
        return None

    def _status(self, entry: Dataset, file: DataFile) -> FileStatus:
        status = FileStatus(
            dataset=entry.name,
            file=file.name,
            size=file.packed.size,
            sha256=file.packed.sha256,
            state="missing",
        )
        for place in self._places:
            for path, content in _candidates(place, entry, file):
                problem = check(path, content)
                return replace(
                    status, state="bad" if problem else "ok", path=path, place=place.label, found=problem
                )
        return status

    def _download(self, entry: Dataset, file: DataFile) -> Path:
        from http.client import HTTPException

        searched = " and ".join(f"{place.label} ({place.folder})" for place in self._places)
        reasons = ["downloads are switched off"] if self.offline else []
        target = self.cache / entry.name / file.name
        for mirror in () if self.offline else entry.mirrors:
            address = mirror.format(file=file.name)
            host = address.split("/")[2]
            try:
                with _open_url(address) as source:
                    _say(f"{entry.name}: downloading {file.name} ({file.packed.size:,} bytes) from {host}")
                    problem = _write(source, target, file.packed)
            except (OSError, HTTPException) as error:
                reasons.append(f"{host}: {error}")
                continue
            if not problem:
                return target
            reasons.append(f"{host}: {problem}")
        fetched = f"`ebbench data fetch {entry.name}` on a machine with a network, or "
        if not entry.mirrors:
            reasons, fetched = ["it is published nowhere by itself"], ""
        raise DataMissing(
            f"{entry.name}: {file.name} is not here and could not be downloaded ({'; '.join(reasons)})",
            where=searched,
            expected=f"{file.packed.size:,} bytes, SHA-256 {file.packed.sha256}",
            fix=f"{fetched}`ebbench data import PATH` with files you have",
        )


def check(path: Path, content: Content) -> str:
    """What is wrong with a file, found and expected; "" if nothing is.

    Raises `StorageError` when it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size != content.size:
            return f"found {size:,} bytes, expected {content.size:,}"
        found = _sha256(path)
    except OSError as error:
        raise StorageError(f"cannot read a data file: {error.strerror}", where=str(path)) from error
    return "" if found == content.sha256 else f"found SHA-256 {found}, expected {content.sha256}"


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    return DATASETS[name]


def _existing(folder: Path, label: str) -> Path:
    folder = folder.expanduser()
    if not folder.is_dir():
        raise DataError(
            "the data folder does not exist", where=f"{label} {folder}", expected="a folder with data files"
        )
    return folder


def _candidates(place: _Place, entry: Dataset, file: DataFile) -> Iterator[tuple[Path, Content]]:
    """The files in `place` that carry the name of `file`, packed first."""
    folders = [place.folder / entry.name]
    if not place.ours:
        folders += [place.folder, *(place.folder / folder for folder in entry.folders)]
    for folder in folders:
        for name, content in file.forms.items():
            if (folder / name).is_file():
                yield folder / name, content


def _bad(entry: Dataset, path: Path, place: _Place, problem: str) -> DataError:
    return DataError(
        f"{entry.name}: {path.name} is cut short or altered: {problem}",
        where=f"{path} (from {place.label})",
        expected="the published file; it is left as it is and was not used",
        fix="replace or remove it; `ebbench data fetch` gets a good copy into the cache",
    )


def _set_aside(path: Path) -> Path:
    aside = path.with_name(path.name + ".bad")
    try:
        os.replace(path, aside)
    except OSError as error:
        raise StorageError(
            f"cannot set a bad data file aside: {error.strerror}", where=str(path), fix="remove it by hand"
        ) from error
    return aside


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_url(address: str) -> IO[bytes]:
    from urllib.request import Request, urlopen

    request = Request(address, headers={"User-Agent": "ebbench"})
    opened: IO[bytes] = urlopen(request, timeout=TIMEOUT)
    return opened


def _opened(path: Path, *, unpack: bool) -> IO[bytes]:
    """The bytes of a file, unpacked on the way if it is packed and `unpack` is asked."""
    if unpack and _is_gzip(path):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _write(source: IO[bytes], target: Path, content: Content) -> str:
    """Copy `source` to `target` by way of a temporary file; what is wrong with it, or "".

    A file of the target's name is whole and verified at any moment. Raises `StorageError` for a
    folder that cannot be written; what reading `source` raises passes through.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=target.name + ".", suffix=".part", dir=target.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write to the data cache: {error.strerror}",
            where=str(target.parent),
            fix="set EBBENCH_HOME to a folder that can be written",
        ) from error
    part = Path(name)
    digest, size = hashlib.sha256(), 0
    try:
        with open(handle, "wb") as file:
            # One byte too many is enough to see that it is another file (a provider's log-in page).
            while size <= content.size and (block := source.read(BLOCK)):
                size += len(block)
                digest.update(block)
                try:
                    file.write(block)
                except OSError as error:
                    raise StorageError(
                        f"cannot write to the data cache: {error.strerror}", where=str(target)
                    ) from error
        if size != content.size:
            more = "more than " if size > content.size else ""
            return f"found {more}{min(size, content.size):,} bytes, expected {content.size:,}"
        if digest.hexdigest() != content.sha256:
            return f"found SHA-256 {digest.hexdigest()}, expected {content.sha256}"
        part.chmod(0o644)
        os.replace(part, target)
        return ""
    finally:
        part.unlink(missing_ok=True)


def _recognise(path: Path) -> tuple[Dataset, DataFile, str] | None:
    """Which data file this is, by content: the entry, the file, and the form to store it in."""
    forms = [
        (entry, file, form, content)
        for entry in DATASETS.values()
        for file in entry.files
        for form, content in file.forms.items()
    ]
    try:
        size = path.stat().st_size
        if any(content.size == size for *_, content in forms):
            found = _sha256(path)
            for entry, file, form, content in forms:
                if content.sha256 == found:
                    return entry, file, form
        if size <= 2 * max(content.size for *_, content in forms) and _is_gzip(path):
            # Packed anew: other bytes, the same content.
            measured = _measure(path, limit=max(content.size for *_, content in forms))
            for entry, file, form, content in forms:
                if measured == content:
                    return entry, file, form
    except OSError as error:
        raise StorageError(f"cannot read: {error.strerror or error}", where=str(path)) from error
    return None


def _measure(path: Path, limit: int) -> Content | None:
    """The size and hash of what a gzip file holds; None if it is broken or larger than `limit`."""
    digest, size = hashlib.sha256(), 0
    try:
        with gzip.open(path, "rb") as file:
            while size <= limit and (block := file.read(BLOCK)):
                size += len(block)
                digest.update(block)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return None
    return None if size > limit else Content(size=size, sha256=digest.hexdigest())


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
