"""SVHN's MATLAB files, read from files that the tests make."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from ebbench.data import registry, svhn
from ebbench.data.store import Store
from ebbench.errors import DataError


def written(path: Path, n: int = 30, **changes: Any) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
    labels = (1 + np.arange(n) % 10).astype(np.uint8)[:, None]
    content = {"X": images, "y": labels} | changes
    savemat(path, {name: value for name, value in content.items() if value is not None}, do_compression=True)
    return images, labels


def test_images_and_digits_come_in_order(tmp_path: Path):
    images, labels = written(tmp_path / "a.mat")
    found, digits = svhn.read_mat(tmp_path / "a.mat", 30)
    assert found.shape == (30, 3, 32, 32) and found.dtype == digits.dtype == np.uint8
    # Row 5, column 9, green, of the image 17.
    assert found[17, 1, 5, 9] == images[5, 9, 1, 17]
    assert digits.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] * 3, "10 stands for the digit 0"
    assert labels.max() == 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"X": None}, "no X"),
        ({"y": None}, "no y"),
        ({"X": np.zeros((32, 32, 3, 30))}, "float64"),
        ({"X": np.zeros((32, 32, 1, 30), np.uint8)}, "32, 32, 1, 30"),
        ({"y": np.ones((29, 1), np.uint8)}, "29 labels"),
        ({"y": np.zeros((30, 1), np.uint8)}, "labels of 0 to 0"),
        ({"y": np.full((30, 1), 11, np.uint8)}, "labels of 11 to 11"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, changes: dict[str, Any], said: str):
    written(tmp_path / "a.mat", **changes)
    with pytest.raises(DataError, match="no good SVHN file") as error:
        svhn.read_mat(tmp_path / "a.mat", 30)
    assert said in str(error.value) and "a.mat" in error.value.where and error.value.fix


@pytest.mark.parametrize("keep", [0, 50, 300, 5000])
def test_files_cut_short_are_refused(tmp_path: Path, keep: int):
    path = tmp_path / "a.mat"
    written(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="no good SVHN file"):
        svhn.read_mat(path, 30)


def test_the_store_checks_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A file of another content is named and not read; the published one is."""
    folder = tmp_path / "SVHN"
    folder.mkdir()
    path = folder / svhn.FILES["test"]
    images, _ = written(path, n=20)
    store = Store(tmp_path, offline=True)
    assert svhn.here(store, "test") and not svhn.here(store, "train")
    with pytest.raises(DataError, match=r"test_32x32\.mat"):
        svhn.load(store, "test")
    with pytest.raises(DataError, match=r"train_32x32\.mat"):
        svhn.load(store, "train")

    entry = registry.DATASETS["svhn"]
    raw = path.read_bytes()
    true = registry.Content(size=len(raw), sha256=hashlib.sha256(raw).hexdigest())
    files = tuple(replace(file, packed=true) if file.name == path.name else file for file in entry.files)
    monkeypatch.setattr(registry, "DATASETS", {**registry.DATASETS, "svhn": replace(entry, files=files)})
    monkeypatch.setitem(svhn.SIZES, "test", 20)
    found, _ = svhn.load(Store(tmp_path, offline=True), "test")
    assert found[3, 2, 1, 0] == images[1, 0, 2, 3]


def test_the_files_are_torchvision_s():
    from torchvision.datasets import SVHN

    assert set(svhn.FILES.values()) <= {name for _, name, _ in SVHN.split_list.values()}
    assert {file.name for file in registry.DATASETS["svhn"].files} == set(svhn.FILES.values())
