"""MNIST: the idx format and the two splits."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ebbench.contract import Store
from ebbench.data.gzipped import broken, read_packed
from ebbench.errors import DataError

Split = Literal["train", "test"]

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
SIZES = {"train": 60_000, "test": 10_000}


def load(store: Store, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One split of MNIST: images uint8 (n, 28, 28) with background 0, and labels uint8 (n,).

    n is 60,000 for "train" and 10,000 for "test". Raises `DataError` for missing, truncated or altered files,
    and `StorageError` for files that cannot be read or downloaded to the cache.
    """
    images_file, labels_file = FILES[split]
    n = SIZES[split]
    images = read_idx(store.path("mnist", images_file), shape=(n, 28, 28))
    labels = read_idx(store.path("mnist", labels_file), shape=(n,))
    if labels.max() > 9:
        raise DataError(f"a label of {labels.max()}", where=labels_file, expected="labels of 0 to 9")
    return images, labels


def read_idx(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, gzip-compressed or not, as a writable uint8 array.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, one big-endian 32-bit
    length per dimension, then the values with the last axis fastest. With `shape` the file must have exactly
    that shape. Raises `DataError` if a file breaks the format, also by a single missing or extra byte, and
    `StorageError` if it cannot be read.
    """
    raw = read_packed(path, what="idx", dataset="mnist")
    if len(raw) < 4:
        raise _broken(path, f"the file holds {len(raw)} bytes", "an idx header of at least 4 bytes")
    zero, kind, dimensions = struct.unpack(">HBB", raw[:4])
    if zero != 0 or kind != 8 or dimensions == 0:
        raise _broken(path, f"the magic number is {raw[:4].hex()}", "0000080d, d the number of dimensions")
    begin = 4 + 4 * dimensions
    if len(raw) < begin:
        raise _broken(path, f"the header is cut short at {len(raw)} bytes", f"{begin} bytes of header")
    lengths = struct.unpack(f">{dimensions}I", raw[4:begin])
    if shape is not None and lengths != shape:
        raise _broken(path, f"the array's shape is {lengths}", f"{shape}")
    expected = begin + math.prod(lengths)
    if len(raw) != expected:
        raise _broken(path, f"found {len(raw):,} bytes", f"{expected:,} for an array of shape {lengths}")
    return np.frombuffer(raw, dtype=np.uint8, offset=begin).reshape(lengths).copy()


def _broken(path: Path, found: str, expected: str) -> DataError:
    return broken(path, found, expected, "idx", "mnist")
