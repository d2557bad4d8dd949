"""Which rows of a data set are for training and which for testing, under each protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.bool_]

# Larger data sets are subsampled to MOST_ROWS, smaller ones are drawn with replacement up to LEAST_ROWS
# (ADBench, section 3.3 and its data_generator.py). The latter only under the protocol `adbench`.
MOST_ROWS, LEAST_ROWS = 10_000, 1_000
TEST_SHARE = 0.3
# Minimum number of anomalies in a subsample of MOST_ROWS under `one-class`, if the data set has as many. This
# matters for smtp: 30 of its 95,156 rows are anomalies.
LEAST_ANOMALIES = 10

# Maximum number of test rows scored during training, since some scores are slow.
WATCHED_ROWS = 1_000


@dataclass(frozen=True)
class Split:
    """Indices of training and test rows, int64 (n,)."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def one_class(anomalous: Labels, rng: np.random.Generator) -> Split:
    """Train on half of the normal rows; test on the other half and all anomalies.

    `anomalous` is bool (n,). Data sets with more than `MOST_ROWS` rows are first subsampled to that number
    without replacement, each class in proportion, but with at least `LEAST_ANOMALIES` anomalies.
    """
    normal, strange = rng.permutation(np.flatnonzero(~anomalous)), rng.permutation(np.flatnonzero(anomalous))
    if len(anomalous) > MOST_ROWS:
        kept = max(round(MOST_ROWS * len(strange) / len(anomalous)), min(LEAST_ANOMALIES, len(strange)))
        normal, strange = normal[: MOST_ROWS - kept], strange[:kept]
    half = len(normal) // 2
    return Split(normal[:half], np.concatenate([normal[half:], strange]))


def watched(anomalous: Labels) -> NDArray[np.int64]:
    """Sorted indices of the test rows, `anomalous` bool (n,), to score during training.

    All of them, or `WATCHED_ROWS` if there are more: the first rows of each class in proportion, but at least
    `LEAST_ANOMALIES` anomalies. The choice is random, since splits are in random order.
    """
    if len(anomalous) <= WATCHED_ROWS:
        return np.arange(len(anomalous))
    normal, strange = np.flatnonzero(~anomalous), np.flatnonzero(anomalous)
    kept = max(round(WATCHED_ROWS * len(strange) / len(anomalous)), min(LEAST_ANOMALIES, len(strange)))
    return np.sort(np.concatenate([normal[: WATCHED_ROWS - kept], strange[:kept]]))


def as_adbench(anomalous: Labels, seed: int) -> Split:
    """Train on 70 % of the rows, including anomalies; test on 30 %, stratified by class.

    Random numbers are drawn in the order of ADBench's data_generator.py, so that its seed gives its split. A
    data set with fewer than `LEAST_ROWS` rows is first resampled with replacement, so that copies of a row
    may be in both training and test set.
    """
    from sklearn.model_selection import train_test_split

    random = np.random.RandomState(seed)
    rows = np.arange(len(anomalous))
    if len(rows) < LEAST_ROWS:
        rows = random.choice(rows, LEAST_ROWS, replace=True)
    elif len(rows) > MOST_ROWS:
        drawn = random.choice(rows, MOST_ROWS, replace=False)
        # A single anomaly cannot be stratified; ADBench's code fails in this case.
        while anomalous[drawn].sum() < 2:
            drawn = random.choice(rows, MOST_ROWS, replace=False)
        rows = drawn
    train, test = train_test_split(
        rows, test_size=TEST_SHARE, shuffle=True, stratify=anomalous[rows], random_state=random
    )
    return Split(train, test)
