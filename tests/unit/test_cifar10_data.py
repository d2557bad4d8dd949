"""CIFAR-10's official form: read as published, and never executed."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from ebbench.data import cifar10
from ebbench.errors import DataError


def batch(seed: int) -> tuple[bytes, np.ndarray, list[int]]:
    """A batch as the official ones are: protocol 2, bytes for keys."""
    rng = np.random.default_rng(seed)
    data = np.tile(rng.integers(0, 256, (50, 3072), dtype=np.uint8), (200, 1))
    labels = rng.integers(0, 10, 10_000).tolist()
    # Python 2 wrote them: its str is bytes here, and NumPy's names are the old ones.
    raw = pickle.dumps({b"data": data, b"labels": labels, b"batch_label": b"of the test"}, protocol=2)
    return raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"), data, labels


def test_the_archive_is_read_in_the_official_order(tmp_path: Path):
    made = {name: batch(i) for i, name in enumerate((*cifar10.BATCHES["train"], *cifar10.BATCHES["test"]))}
    path = tmp_path / cifar10.ARCHIVE
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        for name in reversed(made):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(made[name][0])
            archive.addfile(info, io.BytesIO(made[name][0]))
    images, classes = cifar10._read_archive(path, "train")
    assert images.shape == (50_000, 3, 32, 32) and images.dtype == np.uint8
    _, data, labels = made["data_batch_2"]
    assert classes[10_000:20_000].tolist() == labels
    # A row is the red channel, then green, then blue, each row by row.
    assert images[10_007, 1, 3, 5] == data[7, 1024 + 3 * 32 + 5]
    test, _ = cifar10._read_archive(path, "test")
    assert (test.reshape(10_000, -1) == made["test_batch"][1]).all()
    path.write_bytes(path.read_bytes()[:100_000])
    cifar10._read_archive.cache_clear()
    with pytest.raises(DataError, match="no good CIFAR-10 file"):
        cifar10._read_archive(path, "train")


class Evil:
    def __reduce__(self):
        return os.system, ("touch was-executed",)


class EvilArray:
    def __reduce__(self):
        return eval, ("1",)


@pytest.mark.parametrize("what", [Evil(), {b"data": EvilArray(), b"labels": []}, [np.ndarray, print]])
def test_a_poisoned_pickle_is_refused_and_nothing_is_executed(
    what: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"asks for \w+\.\w+, which no image needs; refused"):
        cifar10.read_batch(pickle.dumps(what), Path("data_batch_1"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "EOFError"),
        (b"\x80\x02garbage", "data_batch_1"),
        (pickle.dumps([1, 2]), "TypeError"),
        (pickle.dumps({b"data": np.zeros((10_000, 3072)), b"labels": [0] * 10_000}), "something else"),
        (pickle.dumps({b"data": np.zeros((9, 3072), np.uint8), b"labels": [0] * 9}), "something else"),
        (
            pickle.dumps({b"data": np.zeros((10_000, 3072), np.uint8), b"labels": [10] * 10_000}),
            "of 10 to 10",
        ),
    ],
)
def test_what_is_no_batch_is_named(raw: bytes, said: str):
    with pytest.raises(DataError, match=said) as error:
        cifar10.read_batch(raw, Path("data_batch_1"))
    assert "3072" in error.value.expected
