"""MNIST's idx format, the real files where they are at hand, and scikit-learn's digits."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ebbench.data import digits
from ebbench.data import mnist as mnist_data
from ebbench.data.store import Store
from ebbench.errors import DataError, StorageError


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)),
    packed=st.booleans(),
)
def test_reading_gives_what_was_written(tmp_path: Path, array: np.ndarray, packed: bool) -> None:
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    read = mnist_data.read_idx(path, shape=array.shape)
    assert read.dtype == np.uint8 and read.flags.writeable
    np.testing.assert_array_equal(read, array)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "holds 0 bytes"),
        (GOOD[:3], "holds 3 bytes"),
        (GOOD[:9], "header is cut short"),
        (GOOD[:-1], "found 39 bytes"),
        (GOOD + b"\0", "found 41 bytes"),
        (b"\1" + GOOD[1:], "magic number is 01000803"),
        (GOOD[:2] + b"\x0d" + GOOD[3:], "magic number is 00000d03"),
        (b"\0\0\x08\0", "magic number is 00000800"),
        (idx(np.zeros((2, 3, 5), np.uint8)), r"shape is \(2, 3, 5\)"),
        (idx(np.zeros((2, 12), np.uint8)), r"shape is \(2, 12\)"),
        (PACKED[:-5], "gzip"),
        (PACKED[:20] + b"\xff\xff" + PACKED[22:], "gzip"),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(GOOD)
    assert mnist_data.read_idx(path, shape=(2, 3, 4)).sum() == sum(range(24))
    path.write_bytes(raw)
    with pytest.raises(DataError, match=said) as error:
        mnist_data.read_idx(path, shape=(2, 3, 4))
    assert error.value.expected and "images.gz" in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        mnist_data.read_idx(tmp_path / "nothing")


def test_the_real_mnist(mnist: Path) -> None:
    store = Store(mnist)
    images, labels = mnist_data.load(store, "train")
    assert images.shape == (60_000, 28, 28) and images.dtype == labels.dtype == np.uint8
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    # The counts that the data set is known for.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(labels).tolist() == counts
    assert round(images.mean() / 255, 4) == 0.1307 and round(images.std() / 255, 4) == 0.3081
    images, labels = mnist_data.load(store, "test")
    assert images.shape == (10_000, 28, 28) and labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_the_digits_split_is_whole_disjoint_and_fixed() -> None:
    (train, train_labels), (test, test_labels) = digits.load("train"), digits.load("test")
    assert train.shape == (1_437, 28, 28) and test.shape == (360, 28, 28)
    assert np.bincount(np.concatenate([train_labels, test_labels])).sum() == 1_797
    assert min(np.bincount(train_labels)) > 100 and min(np.bincount(test_labels)) > 20
    from sklearn.datasets import load_digits

    whole = digits.enlarge(load_digits().images.astype(np.int64))
    both = np.concatenate([train, test])
    assert sorted(image.tobytes() for image in whole) == sorted(image.tobytes() for image in both)
    # Another split or enlargement would be another data set.
    assert digits.hashes()["digits-train-images"].startswith("acb2aa65740c0e2d")
    assert digits.hashes()["digits-train-labels"].startswith("53f898fb81bedc19")


def test_the_enlargement_is_bilinear() -> None:
    small = np.random.default_rng(0).integers(0, 17, (20, 8, 8))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(small / 16 * 255)[:, None], size=28, mode="bilinear", align_corners=False
    )[:, 0].numpy()
    assert np.abs(digits.enlarge(small) - expected).max() <= 0.5 + 1e-9
    assert (digits.enlarge(np.full((1, 8, 8), 16)) == 255).all()
