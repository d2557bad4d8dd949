"""ADBench's classical data sets: tables whose rows are normal or anomalous.

Han, Hu, Huang, Jiang and Zhao, "ADBench: Anomaly Detection Benchmark", NeurIPS 2022. Their repository has one
NumPy file per data set: `X` with one row per example, and `y`, which is 1 for an anomaly.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebbench.contract import Store
from ebbench.data.gzipped import broken
from ebbench.data.gzipped import read as read_bytes
from ebbench.errors import DataError, UsageError, unknown

DATASET = "adbench"


@dataclass(frozen=True)
class TableSet:
    """One data set: its number and name in ADBench, and its numbers of rows, columns and anomalies."""

    number: int
    name: str
    rows: int
    columns: int
    anomalies: int

    @property
    def file(self) -> str:
        """The name of the data file."""
        return f"{self.number}_{self.name}.npz"


# Counted in the files, whose SHA-256 are in datasets.toml.
_HERE = (
    TableSet(1, "ALOI", 49_534, 27, 1_508),
    TableSet(2, "annthyroid", 7_200, 6, 534),
    TableSet(4, "breastw", 683, 9, 239),
    TableSet(5, "campaign", 41_188, 62, 4_640),
    TableSet(6, "cardio", 1_831, 21, 176),
    TableSet(7, "Cardiotocography", 2_114, 21, 466),
    TableSet(8, "celeba", 202_599, 39, 4_547),
    TableSet(10, "cover", 286_048, 10, 2_747),
    TableSet(11, "donors", 619_326, 10, 36_710),
    TableSet(12, "fault", 1_941, 27, 673),
    TableSet(14, "glass", 214, 7, 9),
    TableSet(15, "Hepatitis", 80, 19, 13),
    TableSet(16, "http", 567_498, 3, 2_211),
    TableSet(17, "InternetAds", 1_966, 1_555, 368),
    TableSet(18, "Ionosphere", 351, 32, 126),
    TableSet(19, "landsat", 6_435, 36, 1_333),
    TableSet(20, "letter", 1_600, 32, 100),
    TableSet(21, "Lymphography", 148, 18, 6),
    TableSet(22, "magic.gamma", 19_020, 10, 6_688),
    TableSet(23, "mammography", 11_183, 6, 260),
    TableSet(24, "mnist", 7_603, 100, 700),
    TableSet(25, "musk", 3_062, 166, 97),
    TableSet(26, "optdigits", 5_216, 64, 150),
    TableSet(27, "PageBlocks", 5_393, 10, 510),
    TableSet(28, "pendigits", 6_870, 16, 156),
    TableSet(29, "Pima", 768, 8, 268),
    TableSet(30, "satellite", 6_435, 36, 2_036),
    TableSet(31, "satimage-2", 5_803, 36, 71),
    TableSet(32, "shuttle", 49_097, 9, 3_511),
    TableSet(33, "skin", 245_057, 3, 50_859),
    TableSet(34, "smtp", 95_156, 3, 30),
    TableSet(35, "SpamBase", 4_207, 57, 1_679),
    TableSet(37, "Stamps", 340, 9, 31),
    TableSet(38, "thyroid", 3_772, 6, 93),
    TableSet(39, "vertebral", 240, 6, 30),
    TableSet(40, "vowels", 1_456, 12, 50),
    TableSet(41, "Waveform", 3_443, 21, 100),
    TableSet(42, "WBC", 223, 9, 10),
    TableSet(43, "WDBC", 367, 30, 10),
    TableSet(44, "Wilt", 4_819, 5, 257),
    TableSet(45, "wine", 129, 13, 10),
    TableSet(46, "WPBC", 198, 33, 47),
    TableSet(47, "yeast", 1_484, 8, 507),
)
SETS: Mapping[str, TableSet] = {one.name: one for one in _HERE}

# The other four. Their SHA-256 are unknown here, so their files cannot be checked. The sizes are from
# ADBench's table of data sets.
UNCHECKED: Mapping[str, TableSet] = {
    one.name: one
    for one in (
        TableSet(3, "backdoor", 95_329, 196, 2_329),
        TableSet(9, "census", 299_285, 500, 18_568),
        TableSet(13, "fraud", 284_807, 29, 492),
        TableSet(36, "speech", 3_686, 400, 61),
    )
}


def find(name: str, where: str = "") -> TableSet:
    """The data set with a name ("breastw", case-insensitive), number ("4") or file name ("4_breastw").

    Raises `UsageError` for an unknown data set, and for the four that cannot be checked.
    """
    wanted = name.strip().removesuffix(".npz").lower()
    for one in (*SETS.values(), *UNCHECKED.values()):
        if wanted in (one.name.lower(), str(one.number), f"{one.number}_{one.name}".lower()):
            if one.name in UNCHECKED:
                raise UsageError(
                    f"{one.name} is a data set of ADBench that ebbench cannot check: its SHA-256 is unknown",
                    where=where,
                    expected=f"one of the {len(SETS)} sets whose SHA-256 `ebbench data list {DATASET}` gives",
                    fix=f"leave it out; it has {one.rows:,} rows of {one.columns} columns, "
                    f"{one.anomalies:,} of them anomalies, and is not part of a ranking",
                )
            return one
    raise unknown("data set of ADBench", name.strip(), SETS, where=where)


def load(store: Store, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """One data set: rows float64 (n, columns), and anomaly flags bool (n,), in the file's order.

    Raises `DataError` for a missing, truncated or altered file, and `StorageError` for one that cannot be
    read or downloaded to the cache.
    """
    known = SETS[name]
    path = store.path(DATASET, known.file)
    rows, anomalous = read(path)
    if rows.shape != (known.rows, known.columns) or anomalous.sum() != known.anomalies:
        raise _broken(
            path,
            f"{rows.shape[0]:,} rows of {rows.shape[1]:,} columns, {anomalous.sum():,} anomalous",
            f"{known.rows:,} rows of {known.columns:,} columns, {known.anomalies:,} anomalous",
        )
    return rows, anomalous


def read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The rows of a file, float64 (n, d), and anomaly flags, bool (n,).

    Pickles in the file are not read. Raises `DataError` unless the file holds `X`, finite numbers, and `y`,
    both zeros and ones; raises `StorageError` for a file that cannot be read.
    """
    expected = "X (n, d), finite numbers, and y (n,), 0 for normal and 1 for anomalous, both kinds"
    raw = read_bytes(path)
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as file:
            x, y = file["X"], file["y"]
    # A file with a single array is not loaded as an archive, so it has no names and no context manager.
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        ValueError,
        AttributeError,
        TypeError,
    ) as error:
        raise _broken(path, f"{type(error).__name__}: {error}", expected) from error
    kinds = x.dtype.kind in "iufb" and y.dtype.kind in "iufb"
    if not kinds or x.ndim != 2 or y.shape != (len(x),):
        raise _broken(path, f"X is {x.dtype} {x.shape}, y is {y.dtype} {y.shape}", expected)
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise _broken(path, f"X[{row}, {column}] is {x[row, column]}", expected)
    if set(np.unique(y).tolist()) != {0, 1}:
        raise _broken(path, f"y holds {', '.join(map(str, np.unique(y)[:5]))}", expected)
    return x.astype(np.float64), y.astype(bool)


def _broken(path: Path, found: str, expected: str) -> DataError:
    return broken(path, found, expected, "ADBench", DATASET)
