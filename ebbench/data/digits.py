"""scikit-learn's bundled digits: real handwriting that is there without a network.

1,797 images of 8x8 pixels in 17 grey levels: the test part of UCI's "Optical Recognition of
Handwritten Digits" (Alpaydin and Kaynak, 1998). They stand in for MNIST, enlarged to 28x28, where
MNIST cannot be had; a score on them is no MNIST score.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SIZES = {"train": 1_437, "test": 360}


def load(split: Literal["train", "test"]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One split: images uint8 (n, 28, 28), 0 the background, and labels uint8 (n,).

    n is 1,437 for "train" and 360 for "test". The split is one fixed random permutation (writers
    are not told apart in the data, so both splits may hold digits of the same hand).
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # RandomState's stream is frozen by NumPy's compatibility policy: the same split everywhere.
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
    """Images (n, 8, 8) with values 0 to 16, enlarged to uint8 (n, 28, 28) with values 0 to 255.

    Bilinear, pixels as areas (half-pixel centres), edges repeated, rounded half up. In whole
    numbers throughout, so that every machine gets the same bytes.
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
