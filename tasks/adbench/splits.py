"""Which rows of a data set are trained on and which are tested, under each protocol."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.bool_]

# Of a larger set so many rows are drawn, of a smaller one that many, with repeats (ADBench, section 3.3 and
# its data_generator.py). The repeats are made under the protocol `adbench` alone.
MOST_ROWS, LEAST_ROWS = 10_000, 1_000
TEST_SHARE = 0.3
# So many anomalies a draw of MOST_ROWS keeps under `one-class`, if there are as many. It is of use to smtp,
# 30 of whose 95,156 rows are anomalies.
LEAST_ANOMALIES = 10

# So many tested rows at most are scored along training: some scores are slow.
WATCHED_ROWS = 1_000


@dataclass(frozen=True)
class Split:
    """Indices of the rows that are trained on and of those that are tested, int64 (n,)."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def one_class(anomalous: Labels, rng: np.random.Generator) -> Split:
    """Half of the normal rows train; the other half and all anomalies are the test.

    `anomalous` is bool (n,). Of more than `MOST_ROWS` rows so many are drawn first, without repeats, each
    class by its share, but `LEAST_ANOMALIES` anomalies at least.
    """
    normal, strange = rng.permutation(np.flatnonzero(~anomalous)), rng.permutation(np.flatnonzero(anomalous))
    if len(anomalous) > MOST_ROWS:
        kept = max(round(MOST_ROWS * len(strange) / len(anomalous)), min(LEAST_ANOMALIES, len(strange)))
        normal, strange = normal[: MOST_ROWS - kept], strange[:kept]
    half = len(normal) // 2
    return Split(normal[:half], np.concatenate([normal[half:], strange]))


def watched(anomalous: Labels) -> NDArray[np.int64]:
    """Of the tested rows, `anomalous` bool (n,), indices of those that are scored along training, in order.

    All of them, or `WATCHED_ROWS` of more: the first of each class by its share, which is a random choice
    since splits are drawn in random order, but `LEAST_ANOMALIES` anomalies at least.
    """
    if len(anomalous) <= WATCHED_ROWS:
        return np.arange(len(anomalous))
    normal, strange = np.flatnonzero(~anomalous), np.flatnonzero(anomalous)
    kept = max(round(WATCHED_ROWS * len(strange) / len(anomalous)), min(LEAST_ANOMALIES, len(strange)))
    return np.sort(np.concatenate([normal[: WATCHED_ROWS - kept], strange[:kept]]))


def as_adbench(anomalous: Labels, seed: int) -> Split:
    """70 % of the rows train, anomalies among them; 30 % are the test, each class by its share.

    The numbers are drawn in the order of ADBench's data_generator.py, so that its seed gives its split. A
    set of fewer than `LEAST_ROWS` rows is first drawn from with repeats: copies of a row may then be
    trained on and tested.
    """
    from sklearn.model_selection import train_test_split

    random = np.random.RandomState(seed)
    rows = np.arange(len(anomalous))
    if len(rows) < LEAST_ROWS:
        rows = random.choice(rows, LEAST_ROWS, replace=True)
    elif len(rows) > MOST_ROWS:
        drawn = random.choice(rows, MOST_ROWS, replace=False)
        # Of one anomaly no split by class can be made; ADBench's run fails there.
        while anomalous[drawn].sum() < 2:
            drawn = random.choice(rows, MOST_ROWS, replace=False)
        rows = drawn
    train, test = train_test_split(
        rows, test_size=TEST_SHARE, shuffle=True, stratify=anomalous[rows], random_state=random
    )
    return Split(train, test)
