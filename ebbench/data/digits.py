"""scikit-learn's bundled digits: real handwriting that needs no download.

1,797 images of 8x8 pixels with 17 grey levels, the test part of UCI's "Optical Recognition of Handwritten
Digits" (Alpaydin and Kaynak, 1998). Enlarged to 28x28, they replace MNIST if that is not available; their
scores are not comparable with MNIST's.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SIZES = {"train": 1_437, "test": 360}


def load(split: Literal["train", "test"]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One split: images uint8 (n, 28, 28) with background 0, and labels uint8 (n,).

    n is 1,437 for "train" and 360 for "test". The split is one fixed random permutation. The data do not
    identify writers, so both splits may contain the same hand.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # NumPy's compatibility policy freezes RandomState's stream, so the split is the same everywhere.
    order = np.random.RandomState(0).permutation(len(bunch.images))
    chosen = order[: SIZES["train"]] if split == "train" else order[SIZES["train"] :]
    return enlarge(bunch.images[chosen].astype(np.int64)), bunch.target[chosen].astype(np.uint8)


def hashes() -> dict[str, str]:
    """SHA-256 of the training split's image and label bytes, by name."""
    images, labels = load("train")
    return {
        "digits-train-images": hashlib.sha256(images.tobytes()).hexdigest(),
        "digits-train-labels": hashlib.sha256(labels.tobytes()).hexdigest(),
    }


def enlarge(images: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Resize images (n, 8, 8) with values 0 to 16 to uint8 (n, 28, 28) with values 0 to 255.

    Bilinear, with half-pixel centres, repeated edges and rounding half up. All arithmetic is in integers, so
    every machine gets the same bytes.
    """
    # Output pixel i lies at (i + 1/2) * 8/28 - 1/2 = (4i - 5)/14 of the input: weights in 14ths.
    weights = np.zeros((28, 8), dtype=np.int64)
    for i in range(28):
        left, part = divmod(4 * i - 5, 14)
        weights[i, max(left, 0)] += 14 - part
        weights[i, min(left + 1, 7)] += part
    scaled: NDArray[np.int64] = weights @ images @ weights.T * 255
    unit = 14 * 14 * 16
    return ((2 * scaled + unit) // (2 * unit)).astype(np.uint8)
