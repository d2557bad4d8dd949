"""CIFAR-10: the official archive or its pickled batches, and lossy JPEG copies of quality 75."""

from __future__ import annotations

import io
import lzma
import pickle
import re
import tarfile
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ebbench.contract import Store
from ebbench.data.gzipped import broken, read

Split = Literal["train", "test"]
Source = Literal["cifar10", "cifar10-jpeg75"]
Images = NDArray[np.uint8]

ARCHIVE = "cifar-10-python.tar.gz"
# The same images as six files, for users who have unpacked the archive (as torchvision does).
UNPACKED = "cifar10-batches"
BATCHES = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
JPEG: Literal["cifar10-jpeg75"] = "cifar10-jpeg75"
JPEG_ARCHIVE = "cifar10_jpeg_q75.tar.xz"
SIZES = {"train": 50_000, "test": 10_000}
BATCH = 10_000
# train/00000_6.jpg: image 0, class 6.
_MEMBER = re.compile(r"(train|test)/(\d{5})_(\d)\.jpg")


def source_here(store: Store) -> Source | None:
    """The best available source: the exact pixels, else the JPEG copies, else None.

    Nothing is downloaded. Available files are read once per process to check them. Raises `StorageError` for
    one that cannot be read. An invalid file counts as available and raises an error in `load`.
    """
    if _here(store, "cifar10") or _here(store, UNPACKED):
        return "cifar10"
    return JPEG if _here(store, JPEG) else None


def hashes(store: Store, source: Source) -> dict[str, str]:
    """SHA-256 by published file name; always the archive's, whichever form of the source is used."""
    return store.hashes(source)


def load(store: Store, split: Split, source: Source) -> tuple[Images, Images]:
    """One split: images uint8 (n, 3, 32, 32) and classes uint8 (n,), in the official order.

    n is 50,000 for "train" and 10,000 for "test". The arrays are cached and shared: copy them before changing
    them. Raises `DataError` for a missing, truncated or altered file, and `StorageError` for one that cannot
    be read or downloaded to the cache.
    """
    if source == JPEG:
        return _read_jpegs(store.path(JPEG, JPEG_ARCHIVE), split)
    if not _here(store, "cifar10") and _here(store, UNPACKED):
        return _read_unpacked(tuple(store.path(UNPACKED, name) for name in BATCHES[split]))
    return _read_archive(store.path("cifar10", ARCHIVE), split)


def read_batch(raw: bytes, path: Path) -> tuple[Images, Images]:
    """One pickled batch: images uint8 (10000, 3, 32, 32) and classes uint8 (10000,).

    The pickle can only call what builds an array. Raises `DataError` if it is broken, asks for anything else,
    or holds something else; `path` is for the message.
    """
    expected = f"a pickled dict with 'data', uint8 ({BATCH}, 3072), and 'labels', {BATCH} of 0 to 9"
    try:
        found = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
        data, labels = found[b"data"], np.asarray(found[b"labels"])
    except pickle.UnpicklingError as error:
        raise broken(path, str(error), expected, "CIFAR-10", UNPACKED) from error
    # A pickle is a program: a broken one may raise any exception.
    except Exception as error:
        raise broken(path, f"{type(error).__name__}: {error}", expected, "CIFAR-10", UNPACKED) from error
    fits = isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape == (BATCH, 3072)
    if not fits or labels.shape != (BATCH,) or labels.dtype.kind not in "iu":
        raise broken(path, "it holds something else", expected, "CIFAR-10", UNPACKED)
    if labels.min() < 0 or labels.max() > 9:
        raise broken(path, f"labels of {labels.min()} to {labels.max()}", expected, "CIFAR-10", UNPACKED)
    return data.reshape(BATCH, 3, 32, 32), labels.astype(np.uint8)


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes as Python 3 encodes them in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding}")
    return text.encode("latin1")


class _Unpickler(pickle.Unpickler):
    """Reads arrays, numbers, strings and containers, and refuses every other name in a pickle."""

    # The function moved between NumPy versions; an array's own pickle says where it is.
    allowed: dict[tuple[str, str], Any] = {
        ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no image needs; refused")
        return self.allowed[module, name]


@cache
def _read_unpacked(paths: tuple[Path, ...]) -> tuple[Images, Images]:
    return _together(read_batch(read(path), path) for path in paths)


@cache
def _read_archive(path: Path, split: Split) -> tuple[Images, Images]:
    raw: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            # In the archive's own order, because each step back would decompress from the start.
            for member in archive:
                name = member.name.rpartition("/")[2]
                if name in BATCHES[split] and (file := archive.extractfile(member)):
                    raw[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise broken(path, str(error), "the official archive", "CIFAR-10", "cifar10") from error
    if missing := [name for name in BATCHES[split] if name not in raw]:
        raise broken(path, f"it has no {', '.join(missing)}", "the official archive", "CIFAR-10", "cifar10")
    return _together(read_batch(raw[name], path) for name in BATCHES[split])


def _together(batches: Iterator[tuple[Images, Images]]) -> tuple[Images, Images]:
    images, classes = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(classes)


@cache
def _read_jpegs(path: Path, split: Split) -> tuple[Images, Images]:
    n = SIZES[split]
    images, classes = np.zeros((n, 32, 32, 3), np.uint8), np.zeros(n, np.uint8)
    seen = np.zeros(n, bool)
    try:
        with tarfile.open(path, "r:xz") as archive:
            for member in archive:
                found = _MEMBER.fullmatch(member.name)
                file = archive.extractfile(member) if found and found[1] == split else None
                if found is None or file is None:
                    continue
                index = int(found[2])
                images[index] = np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB"))
                classes[index], seen[index] = int(found[3]), True
    # OSError: Pillow raises it, or its subclass UnidentifiedImageError, for truncated images.
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, IndexError, OSError) as error:
        raise broken(path, str(error), f"an archive of {n:,} images of 32x32", "CIFAR-10", JPEG) from error
    if not seen.all():
        missing = int((~seen).sum())
        raise broken(path, f"{missing:,} images are missing", f"{n:,} of '{split}'", "CIFAR-10", JPEG)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), classes


def _here(store: Store, dataset: str) -> bool:
    # An invalid file counts as available and raises an error on reading; a missing one does not.
    return all(file.state != "missing" for file in store.survey(dataset))
