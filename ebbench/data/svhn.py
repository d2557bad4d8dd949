"""SVHN, house numbers from street view: the cropped digits (format 2; Netzer et al. 2011), in MATLAB
files."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ebbench.contract import Store
from ebbench.data.gzipped import broken, read

Split = Literal["train", "test"]
Images = NDArray[np.uint8]

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
SIZES = {"train": 73_257, "test": 26_032}


def here(store: Store, split: Split) -> bool:
    """Whether a split's file is available, valid or not; files are read to check them, not downloaded."""
    return any(f.file == FILES[split] and f.state != "missing" for f in store.survey("svhn"))


def load(store: Store, split: Split) -> tuple[Images, Images]:
    """One split: images uint8 (n, 3, 32, 32) and digits uint8 (n,), 0 to 9, in the official order.

    n is 73,257 for "train" and 26,032 for "test". The arrays are cached and shared: copy them before changing
    them. Raises `DataError` for a missing, truncated or altered file, and `StorageError` for one that cannot
    be read or downloaded to the cache.
    """
    return _load(store.path("svhn", FILES[split]), SIZES[split])


def read_mat(path: Path, n: int) -> tuple[Images, Images]:
    """The `n` images of a file, uint8 (n, 3, 32, 32), and their digits, uint8 (n,).

    The file holds X, uint8 (32, 32, 3, n), and y, (n, 1), in which 10 stands for the digit 0. Raises
    `DataError` if it holds anything else or is not a MATLAB file.
    """
    import io

    from scipy.io import loadmat

    expected = f"a MATLAB file with X, uint8 (32, 32, 3, {n}), and y, {n} labels of 1 to 10"
    raw = read(path)
    try:
        found = loadmat(io.BytesIO(raw), variable_names=["X", "y"])
    # The reader may raise anything on a damaged file.
    except Exception as error:
        raise broken(path, f"{type(error).__name__}: {error}", expected, "SVHN", "svhn") from error
    if missing := [name for name in ("X", "y") if name not in found]:
        raise broken(path, f"it has no {' and no '.join(missing)}", expected, "SVHN", "svhn")
    images, labels = found["X"], found["y"].ravel()
    if images.dtype != np.uint8 or images.shape != (32, 32, 3, n) or labels.shape != (n,):
        shapes = f"X is {images.dtype} {images.shape}, y has {len(labels)} labels"
        raise broken(path, shapes, expected, "SVHN", "svhn")
    if labels.dtype.kind not in "iu" or labels.min() < 1 or labels.max() > 10:
        raise broken(path, f"labels of {labels.min()} to {labels.max()}", expected, "SVHN", "svhn")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), (labels % 10).astype(np.uint8)


@cache
def _load(path: Path, n: int) -> tuple[Images, Images]:
    return read_mat(path, n)
