"""The store of data files: finds, verifies, imports and downloads them.

Data sets are defined in datasets.toml. Every file is checked before it is used; nothing is downloaded unless
a caller asks for the file. This module imports neither numpy nor torch.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ebbench.contract import FileStatus
from ebbench.data import importing, registry
from ebbench.data.checking import check, kind, recheck
from ebbench.data.downloading import Failed, download
from ebbench.data.registry import Content, DataFile, Dataset
from ebbench.errors import DataError, DataMissing, StorageError, unknown
from ebbench.storage.files import absolute, home, look


@dataclass(frozen=True)
class _Place:
    """A folder to search. Nothing is ever written or renamed in the user's folders."""

    label: str
    folder: Path
    ours: bool


class Store:
    """Where data files come from.

    With `data_dir` only that folder is searched, and a missing file is an error. Otherwise the order is: the
    folder in the environment variable EBBENCH_DATA, then the user's cache (`$EBBENCH_HOME/data`, or the
    platform's cache folder), then a download into the cache, unless `offline` or the variable EBBENCH_OFFLINE
    is set. A folder may hold the files directly, in a sub-folder named after the data set, or where
    torchvision keeps them.

    Raises `DataError` for a folder that does not exist, `UsageError` for an impossible path.
    """

    def __init__(self, data_dir: Path | None = None, *, offline: bool = False) -> None:
        self.data_dir = None if data_dir is None else _existing(data_dir, "--data-dir")
        self.offline = offline or os.environ.get("EBBENCH_OFFLINE", "") not in ("", "0")
        self._places: list[_Place] = []
        if self.data_dir is not None:
            self._places.append(_Place("--data-dir", self.data_dir, ours=False))
        else:
            if shared := os.environ.get("EBBENCH_DATA"):
                folder = _existing(shared, "EBBENCH_DATA")
                self._places.append(_Place("EBBENCH_DATA", folder, ours=False))
            self._places.append(_Place("cache", self.cache, ours=True))

    @property
    def cache(self) -> Path:
        """The folder for downloads and imports; it need not exist yet."""
        return home() / "data"

    def path(self, dataset: str, file: str) -> Path:
        """The verified file called `file` (its published name), compressed or not, downloaded if necessary.

        Raises `DataError` for an invalid file in a user's folder and for a `data_dir` without the file,
        `DataMissing` if it is not available, and `StorageError`.
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
        """Every file of a data set by its published name; see `path`."""
        return {file.name: self.path(dataset, file.name) for file in _dataset(dataset).files}

    def hashes(self, dataset: str) -> dict[str, str]:
        """SHA-256 of each published file, whichever form of it is used."""
        return {file.name: file.packed.sha256 for file in _dataset(dataset).files}

    def survey(self, dataset: str) -> list[FileStatus]:
        """What is available of a data set; changes nothing.

        A file is read and checked once per process, and again only if it changes: see `checking.recheck`.
        """
        return self._statuses(dataset, recheck)

    def verify(self, dataset: str) -> list[FileStatus]:
        """As `survey`, but reads every file again."""
        return self._statuses(dataset, check)

    def import_path(self, path: Path) -> list[importing.Imported]:
        """Copy the data files in `path`, a file or folder, into the cache; see `importing.import_path`."""
        return importing.import_path(path, self.cache)

    def _statuses(self, dataset: str, checked: Callable[[Path, Content], str]) -> list[FileStatus]:
        entry = _dataset(dataset)
        return [self._status(entry, file, checked) for file in entry.files]

    def _find(self, entry: Dataset, file: DataFile) -> Path | None:
        for place in self._places:
            for path, content in _candidates(place, entry, file):
                problem = recheck(path, content)
                if not problem:
                    return path
                if not place.ours:
                    raise _bad(entry, path, place, problem)
                aside = _set_aside(path)
                note = f"{entry.name}: {path.name} in the cache is bad ({problem}); kept aside as {aside}"
                print(note, file=sys.stderr, flush=True)
        return None

    def _status(self, entry: Dataset, file: DataFile, checked: Callable[[Path, Content], str]) -> FileStatus:
        status = FileStatus(
            dataset=entry.name,
            file=file.name,
            size=file.packed.size,
            sha256=file.packed.sha256,
            state="missing",
        )
        for place in self._places:
            for path, content in _candidates(place, entry, file):
                problem = checked(path, content)
                return replace(
                    status, state="bad" if problem else "ok", path=path, place=place.label, found=problem
                )
        return status

    def _download(self, entry: Dataset, file: DataFile) -> Path:
        searched = " and ".join(f"{place.label} ({place.folder})" for place in self._places)
        reasons = ["downloads are switched off"] if self.offline else []
        target = self.cache / entry.name / file.name
        for mirror in () if self.offline else entry.mirrors:
            address = mirror.format(file=file.name)
            try:
                download(address, target, file.packed, f"{entry.name}: {file.name}")
            except Failed as failure:
                reasons.append(f"{address.split('/')[2]}: {failure}")
            else:
                return target
        fetched = f"`ebbench data fetch {entry.name}` on a machine with a network, or "
        if not entry.mirrors:
            reasons, fetched = ["it is published nowhere by itself"], ""
        raise DataMissing(
            f"{entry.name}: {file.name} is not here and could not be downloaded ({'; '.join(reasons)})",
            where=searched,
            expected=f"{file.packed.size:,} bytes, SHA-256 {file.packed.sha256}",
            fix=f"{fetched}`ebbench data import PATH` with files you have",
        )


def _dataset(name: str) -> Dataset:
    if name not in registry.DATASETS:
        raise unknown("data set", name, registry.DATASETS)
    return registry.DATASETS[name]


def _existing(given: Path | str, label: str) -> Path:
    folder = absolute(given, label)
    found = look(folder)
    if found is None or not stat.S_ISDIR(found.st_mode):
        raise DataError(
            "the data folder does not exist" if found is None else "the data folder is no folder",
            where=f"{label} {folder}" + (f": {kind(folder)}" if found else ""),
            expected="a folder with data files",
            fix="name another folder, or leave it out: ebbench then looks in its own cache",
        )
    return folder


def _candidates(place: _Place, entry: Dataset, file: DataFile) -> Iterator[tuple[Path, Content]]:
    """The entries in `place` with the name of `file`, compressed first; folders are left out."""
    folders = [place.folder / entry.name]
    if not place.ours:
        folders += [place.folder, *(place.folder / folder for folder in entry.folders)]
    for folder in folders:
        for name, content in file.forms.items():
            path = folder / name
            found = look(path)
            # A broken link is not a missing file: its author meant a file to be there.
            if path.is_symlink() if found is None else not stat.S_ISDIR(found.st_mode):
                yield path, content


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
    except FileNotFoundError:
        # Another process has already moved it aside.
        pass
    except OSError as error:
        raise StorageError(
            f"cannot set a bad data file aside: {error.strerror}", where=str(path), fix="remove it by hand"
        ) from error
    return aside
