"""KDD Cup 1999: the connection records and their encoding as vectors."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ebbench.contract import Store
from ebbench.data.gzipped import broken, read_packed
from ebbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FILE = "kddcup.data_10_percent.gz"
NORMAL = "normal."
LABEL = "label"

# From the archive's kddcup.names, in the file's order.
COLUMNS = (
    "duration",
    "protocol_type",
    "service",
    "flag",
    "src_bytes",
    "dst_bytes",
    "land",
    "wrong_fragment",
    "urgent",
    "hot",
    "num_failed_logins",
    "logged_in",
    "num_compromised",
    "root_shell",
    "su_attempted",
    "num_root",
    "num_file_creations",
    "num_shells",
    "num_access_files",
    "num_outbound_cmds",
    "is_host_login",
    "is_guest_login",
    "count",
    "srv_count",
    "serror_rate",
    "srv_serror_rate",
    "rerror_rate",
    "srv_rerror_rate",
    "same_srv_rate",
    "diff_srv_rate",
    "srv_diff_host_rate",
    "dst_host_count",
    "dst_host_srv_count",
    "dst_host_same_srv_rate",
    "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate",
    "dst_host_srv_diff_host_rate",
    "dst_host_serror_rate",
    "dst_host_srv_serror_rate",
    "dst_host_rerror_rate",
    "dst_host_srv_rerror_rate",
)
# As in DAGMM and MEG: 7 categorical columns and 34 numeric ones.
CATEGORICAL = (
    "protocol_type",
    "service",
    "flag",
    "land",
    "logged_in",
    "is_host_login",
    "is_guest_login",
)
LABELS = (
    "back",
    "buffer_overflow",
    "ftp_write",
    "guess_passwd",
    "imap",
    "ipsweep",
    "land",
    "loadmodule",
    "multihop",
    "neptune",
    "nmap",
    "normal",
    "perl",
    "phf",
    "pod",
    "portsweep",
    "rootkit",
    "satan",
    "smurf",
    "spy",
    "teardrop",
    "warezclient",
    "warezmaster",
)


@dataclass(frozen=True)
class Encoding:
    """How records become vectors: the numeric columns first, then one one-hot block per category.

    `vocabularies` maps each categorical column to its values, in the order of the block. Values outside the
    vocabulary leave their block zero.
    """

    numbers: Sequence[str]
    vocabularies: Mapping[str, Sequence[str]]

    @property
    def size(self) -> int:
        """The length of a vector."""
        return len(self.numbers) + sum(len(values) for values in self.vocabularies.values())

    def encode(self, records: pd.DataFrame) -> NDArray[np.float32]:
        """Encode `records` as vectors, float32 (n, size), unscaled."""
        made = np.zeros((len(records), self.size), np.float32)
        made[:, : len(self.numbers)] = records[list(self.numbers)].to_numpy(np.float32)
        begin = len(self.numbers)
        rows = np.arange(len(records))
        for column, values in self.vocabularies.items():
            place = records[column].cat.categories.get_indexer_for(list(values))
            # Maps a record's category code to its column in the block; -1 outside the vocabulary.
            to_block = np.full(len(records[column].cat.categories), -1)
            to_block[place[place >= 0]] = np.flatnonzero(place >= 0)
            block = to_block[records[column].cat.codes.to_numpy()]
            known = block >= 0
            made[rows[known], begin + block[known]] = 1.0
            begin += len(values)
        return made


def fit(records: pd.DataFrame, categorical: Sequence[str] = CATEGORICAL) -> Encoding:
    """The encoding whose vocabularies are the sorted values in `records`.

    Fitted to the whole 10 % file it has 121 columns with the 7 categorical columns of DAGMM and MEG, and 118
    with only protocol, service and flag as categories.
    """
    numbers = [column for column in COLUMNS if column not in categorical]
    return Encoding(numbers, {column: sorted(records[column].unique()) for column in categorical})


def load(store: Store) -> pd.DataFrame:
    """The 494,021 records of the 10 % file, in its order; see `read`.

    Raises `DataError` for a missing, truncated or altered file, and `StorageError` for one that cannot be
    read or downloaded to the cache.
    """
    return read(store.path("kdd99", FILE))


def read(path: Path) -> pd.DataFrame:
    """The records of a KDD99 file, compressed or not: 41 columns and "label", one row per connection.

    The columns in `CATEGORICAL` and the label are pandas categories, the others float64; labels keep their
    full stop ("normal."). Raises `DataError` for a truncated file, a row with too few or too many fields, a
    value that is not a number, and an unknown label; raises `StorageError` for a file that cannot be read.
    """
    import pandas as pd

    raw = read_packed(path, what="KDD99", dataset="kdd99")
    lines = raw.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, text in enumerate(lines, 1):
        commas = text.count(b",")
        if commas != len(COLUMNS):
            raise _broken(
                path,
                f"line {number:,} has {commas + 1} fields",
                f"{len(COLUMNS)} columns and a label on every line",
            )
    if not lines:
        raise _broken(path, "it is empty", "one connection a line")
    kinds = {column: "category" if column in CATEGORICAL else "float64" for column in COLUMNS}
    try:
        records = pd.read_csv(
            io.BytesIO(raw),
            header=None,
            names=[*COLUMNS, LABEL],
            dtype=kinds | {LABEL: "category"},
            na_filter=False,
        )
    except ValueError as error:
        raise _broken(path, f"a field is no number: {error}", "numbers in the numeric columns") from error
    numbers = [column for column in COLUMNS if column not in CATEGORICAL]
    finite = np.isfinite(records[numbers].to_numpy())
    if not finite.all():
        row, place = np.argwhere(~finite)[0]
        name = numbers[place]
        raise _broken(path, f"'{name}' is {records[name].iloc[row]} on line {row + 1:,}", "finite numbers")
    known = {f"{label}." for label in LABELS}
    strange = [label for label in records[LABEL].cat.categories if label not in known]
    if strange:
        line = int((records[LABEL] == strange[0]).to_numpy().argmax()) + 1
        raise _broken(path, f"the label '{strange[0]}' on line {line:,} is unknown", "one of the 23 labels")
    return records


def _broken(path: Path, found: str, expected: str) -> DataError:
    return broken(path, found, expected, "KDD99", "kdd99")
