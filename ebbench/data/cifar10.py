"""CIFAR-10: so far the JPEG copies of quality 75, which are real images and lossy."""

from __future__ import annotations

import io
import re
import tarfile
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ebbench.data.packed import broken
from ebbench.data.store import Store

Split = Literal["train", "test"]

DATASET = "cifar10-jpeg75"
FILE = "cifar10_jpeg_q75.tar.xz"
SIZES = {"train": 50_000, "test": 10_000}
# train/00000_6.jpg: the image of index 0, of class 6.
_MEMBER = re.compile(r"(train|test)/(\d{5})_(\d)\.jpg")


def load(store: Store, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One split: images uint8 (n, 3, 32, 32) and classes uint8 (n,), in the official order.

    n is 50,000 for "train" and 10,000 for "test". Raises `DataError` for a file that is missing, cut
    short or altered.
    """
    return _read(store.path(DATASET, FILE), split)


@cache
def _read(path: Path, split: Split) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
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
    except (tarfile.TarError, EOFError, ValueError, IndexError, UnidentifiedImageError) as error:
        raise broken(path, str(error), f"an archive of {n:,} images of 32x32", "CIFAR-10", DATASET) from error
    if not seen.all():
        missing = int((~seen).sum())
        raise broken(path, f"{missing:,} images are missing", f"{n:,} of '{split}'", "CIFAR-10", DATASET)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), classes
