"""CIFAR-10's official form: read as published, and never executed."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebbench.data import cifar10, registry
from ebbench.data.store import Store
from ebbench.errors import DataError

SPLITS = cifar10.BATCHES.values()


def batch(seed: int) -> tuple[bytes, np.ndarray, list[int]]:
    """A batch as the official ones are: protocol 2, bytes for keys."""
    rng = np.random.default_rng(seed)
    data = np.tile(rng.integers(0, 256, (50, 3072), dtype=np.uint8), (200, 1))
    labels = rng.integers(0, 10, 10_000).tolist()
    # Python 2 wrote them: its str is bytes here, and NumPy's names are the old ones.
    raw = pickle.dumps({b"data": data, b"labels": labels, b"batch_label": b"of the test"}, protocol=2)
    return raw.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"), data, labels


@pytest.mark.medium
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


def jpegs(name: str, n: int) -> bytes:
    """An archive of `n` grey images of a split, image i of class i % 10 and of the grey 10 i."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:xz") as archive:
        for i in range(n):
            image = io.BytesIO()
            Image.new("RGB", (32, 32), (10 * i,) * 3).save(image, "JPEG")
            info = tarfile.TarInfo(f"{name}/{i:05}_{i % 10}.jpg")
            info.size = image.tell()
            archive.addfile(info, io.BytesIO(image.getvalue()))
    return made.getvalue()


def test_the_exact_pixels_are_taken_before_the_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cifar10, "BATCH", 20)
    monkeypatch.setattr(cifar10, "SIZES", {"train": 20, "test": 20})
    rng = np.random.default_rng(0)
    pixels = {name: rng.integers(0, 256, (20, 3072), dtype=np.uint8) for part in SPLITS for name in part}
    content = {
        ("cifar10-jpeg75", cifar10.JPEG_ARCHIVE): jpegs("test", 20),
        **{
            (cifar10.UNPACKED, name): pickle.dumps({b"data": data, b"labels": [3] * 20}, protocol=2)
            for name, data in pixels.items()
        },
    }
    known = dict(registry.DATASETS)
    for name in ("cifar10-jpeg75", cifar10.UNPACKED):
        files = tuple(
            registry.DataFile(
                name=file, packed=registry.Content(size=len(raw), sha256=hashlib.sha256(raw).hexdigest())
            )
            for (of, file), raw in content.items()
            if of == name
        )
        known[name] = replace(known[name], files=files)
    monkeypatch.setattr(registry, "DATASETS", known)
    store = Store(tmp_path, offline=True)

    def put(dataset: str) -> None:
        (tmp_path / dataset).mkdir()
        for (of, file), raw in content.items():
            if of == dataset:
                (tmp_path / dataset / file).write_bytes(raw)

    assert cifar10.source_here(store) is None
    with pytest.raises(DataError, match="not in the given folder"):
        cifar10.load(store, "test", "cifar10")
    put("cifar10-jpeg75")
    assert cifar10.source_here(store) == "cifar10-jpeg75"
    images, classes = cifar10.load(store, "test", "cifar10-jpeg75")
    assert classes.tolist() == [i % 10 for i in range(20)]
    assert (abs(images[:, 0, 5, 5].astype(int) - 10 * np.arange(20)) <= 2).all()
    put(cifar10.UNPACKED)
    assert cifar10.source_here(store) == "cifar10"
    images, classes = cifar10.load(store, "test", "cifar10")
    assert (images.reshape(20, -1) == pixels["test_batch"]).all() and set(classes) == {3}
    images, _ = cifar10.load(store, "train", "cifar10")
    assert (images[20:40].reshape(20, -1) == pixels["data_batch_2"]).all()


@pytest.mark.parametrize("damage", ["cut", "an image is missing", "no image"])
def test_a_broken_archive_of_copies_is_named(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cifar10, "SIZES", {"train": 12, "test": 12})
    raw = jpegs("test", 12 - (damage == "an image is missing"))
    path = tmp_path / cifar10.JPEG_ARCHIVE
    path.write_bytes(raw[: len(raw) // 2] if damage == "cut" else raw)
    if damage == "no image":
        with tarfile.open(path, "w:xz") as archive:
            info = tarfile.TarInfo("test/00000_0.jpg")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"jpeg"))
    with pytest.raises(DataError, match="no good CIFAR-10 file") as error:
        cifar10._read_jpegs(path, "test")
    assert "data import" in str(error.value)


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
