"""KDD99: the reader against broken files, and the encoding against pandas."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ebbench.data import kdd99
from ebbench.errors import DataError

LINE = (
    "0,tcp,http,SF,181,5450,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0,8,8,0.00,0.00,0.00,0.00,1.00,0.00,0.00,9,9,"
    "1.00,0.00,0.11,0.00,0.00,0.00,0.00,0.00,normal."
)
ATTACK = LINE.replace("tcp,http,SF,181", "icmp,ecr_i,REJ,1032").replace("normal.", "smurf.")


def write(folder: Path, *lines: str) -> Path:
    path = folder / "kdd.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


def test_the_records_and_their_types(tmp_path: Path):
    records = kdd99.read(write(tmp_path, LINE, ATTACK))
    assert records.shape == (2, 42) and list(records["label"]) == ["normal.", "smurf."]
    assert records["src_bytes"].tolist() == [181.0, 1032.0]
    assert records["service"].tolist() == ["http", "ecr_i"] and records["service"].dtype == "category"
    plain = tmp_path / "plain"
    plain.write_text(LINE + "\n" + ATTACK + "\n")
    assert kdd99.read(plain).equals(records)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([LINE, LINE.rsplit(",", 2)[0] + ",normal."], "line 2 has 41 fields"),
        ([LINE, "1," + LINE], "line 2 has 43 fields"),
        ([LINE.replace("normal.", "teatime.")], r"the label 'teatime\.' on line 1"),
        ([LINE.replace("181", "many")], "a field is no number"),
        ([LINE, LINE.replace("181", "nan")], "'src_bytes' is nan on line 2|a field is no number"),
        ([LINE, LINE.replace("5450", "inf")], "'dst_bytes' is inf on line 2"),
        ([LINE, "", LINE], "line 2 has 1 fields"),
    ],
    ids=["a column missing", "a column too many", "label", "text", "nan", "inf", "empty line"],
)
def test_a_broken_file_says_where(tmp_path: Path, lines, message):
    with pytest.raises(DataError, match=message) as error:
        kdd99.read(write(tmp_path, *lines))
    assert "kdd.gz" in str(error.value) and "fetch" in error.value.fix


def test_a_truncated_or_empty_file_is_named(tmp_path: Path):
    path = write(tmp_path, *[LINE] * 100)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="the gzip data is broken"):
        kdd99.read(path)
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="it is empty"):
        kdd99.read(path)


def test_the_encoding_is_pandas_dummies_behind_the_numbers(tmp_path: Path):
    records = kdd99.read(write(tmp_path, LINE, ATTACK, LINE.replace("http", "ftp")))
    encoding = kdd99.fit(records)
    made = encoding.encode(records)
    categorical = list(kdd99.CATEGORICAL)
    numbers = [c for c in kdd99.COLUMNS if c not in categorical]
    dummies = pd.get_dummies(records[categorical].astype(str))
    expected = np.hstack([records[numbers].to_numpy(), dummies.to_numpy()])
    assert np.array_equal(made, expected.astype(np.float32))
    assert encoding.size == made.shape[1] == 34 + len(dummies.columns)


def test_values_outside_the_vocabulary_leave_their_block_empty(tmp_path: Path):
    records = kdd99.read(write(tmp_path, LINE, ATTACK))
    encoding = kdd99.fit(records.iloc[:1])
    made = encoding.encode(records)
    assert encoding.size == 34 + 7
    assert made[0, 34:].tolist() == [1.0] * 7
    # protocol_type, service and flag differ; land, logged_in and the two is_..._login do not.
    assert made[1, 34:].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]


def test_the_published_numbers_of_columns(kdd99_records):
    """121 in MEG's and Zenati's code, 118 in a DAGMM re-implementation; DAGMM itself says 120."""
    full = kdd99.fit(kdd99_records)
    assert [len(values) for values in full.vocabularies.values()] == [3, 66, 11, 2, 2, 1, 2]
    assert full.size == 121
    assert kdd99.fit(kdd99_records, ("protocol_type", "service", "flag")).size == 118
    # One column of the 121 is constant by construction, a category of one value: without it, 120.
    blocks = full.encode(kdd99_records)[:, 34:]
    assert 121 - int((blocks == 1).all(0).sum()) == 120


def test_the_counts_of_the_file(kdd99_records):
    assert len(kdd99_records) == 494_021
    assert int((kdd99_records["label"] == "normal.").sum()) == 97_278
