"""MNIST with few labels: all training images, labels for 100, 200 or 1000 of them, and the test error.

Semi-supervised and permutation-invariant, as in Rasmus et al. (2015) and in Zhao et al., EBGAN (2016),
section 4.2. README.md describes the protocol.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import DataSpec, Limit, Metric, Model, Score, Store, Task, derive_seed
from ebbench.data import mnist
from ebbench.data.labelled import LabelledPool
from ebbench.data.pool import in_range

from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

CLASSES = 10
PIXELS = 28 * 28


class MnistLabels(Task):
    """Test error of a classifier that is trained on few labels and all training images."""

    @dataclass(frozen=True)
    class Options:
        labels: Literal[100, 200, 1000] = 100
        """Number of labelled training images, equally many per digit (the papers' numbers)."""

    version = 1
    protocols = {
        "clean": "60,000 training images, of which 100, 200 or 1000, as many of each digit, have a label, "
        "chosen by the run's seed; pixels in a fixed random order; errors on the 10,000 test images",
    }
    needs = "classify"
    metrics = (
        Metric(
            name="error",
            unit="%",
            better="lower",
            primary=True,
            doc="test images whose digit is not the one that the model names",
        ),
        *(
            Metric(name=f"error_{digit}", unit="%", better="lower", doc=f"the same, of the images of {digit}")
            for digit in range(CLASSES)
        ),
    )
    limits = (
        Limit(
            metric="error",
            least=0.05,
            why="some test images show no clear digit: the best classifiers with all labels miss about ten",
        ),
    )
    published = PUBLISHED

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        self.source = "mnist"
        self.data_hashes = store.hashes("mnist")
        self.seed = 0

    def parts(self, seed: int) -> Mapping[str, Task]:
        """One training, on the labelled images that `seed` chooses."""
        part = copy.copy(self)
        part.seed = seed
        return {"": part}

    def data_key(self) -> dict[str, Any]:
        """The number of labels and the seed that chooses the labelled images."""
        return {"labels": self.options.labels, "seed": self.seed}

    def spec(self) -> DataSpec:
        """Vectors (784,) in [0, 1] with ten classes: permuted pixels, without spatial structure."""
        return DataSpec(name="mnist-labels", shape=(PIXELS,), low=0.0, high=1.0, classes=CLASSES)

    def data(self, device: torch.device) -> LabelledPool:
        """All training images, with labels for those that `labelled` chooses."""
        images, digits = self._load("train")
        labels = torch.full((len(digits),), -1)
        chosen = torch.from_numpy(labelled(digits, self.options.labels, self.seed))
        labels[chosen] = torch.from_numpy(digits.astype(np.int64))[chosen]
        return LabelledPool(images, labels, self.spec(), device)

    def evaluate(self, model: Model, scoring: Scoring) -> Mapping[str, float]:
        """The error on the test images."""
        return {"error": self._errors(scoring)[0]["error"]}

    def score(self, model: Model, scoring: Scoring) -> Score:
        """The test error, overall and per digit, and the confusion matrix."""
        metrics, confusion = self._errors(scoring)
        return Score(
            metrics, {"labels": self.options.labels, "tested_on": len(self._test[1]), "confusion": confusion}
        )

    def _errors(self, scoring: Scoring) -> tuple[dict[str, float], list[list[int]]]:
        """The metrics, and how often digit i (row) was classified as digit j (column)."""
        images, digits = self._test
        named = scoring.scores(images, only=("classify",))["classify"]
        table = np.zeros((CLASSES, CLASSES), np.int64)
        np.add.at(table, (digits, named.astype(np.int64)), 1)
        right, all_ = np.diag(table), table.sum(1)
        metrics = {"error": 100 * float(1 - right.sum() / all_.sum())}
        metrics |= {f"error_{digit}": 100 * float(1 - right[digit] / all_[digit]) for digit in range(CLASSES)}
        return metrics, table.tolist()

    def _load(self, split: Literal["train", "test"]) -> tuple[Tensor, NDArray[np.uint8]]:
        """The images of a split, uint8 (n, 784) in the task's pixel order, and their digits (n,)."""
        images, digits = mnist.load(self.store, split)
        return torch.from_numpy(images.reshape(-1, PIXELS)[:, pixel_order()]), digits

    @cached_property
    def _test(self) -> tuple[Tensor, NDArray[np.uint8]]:
        images, digits = self._load("test")
        return in_range(images, self.spec()), digits


def pixel_order() -> NDArray[np.int64]:
    """The order of the 784 pixels that models get: random, and the same in every run."""
    return np.random.default_rng(derive_seed(0, "mnist-labels", "pixels")).permutation(PIXELS)


def labelled(digits: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.int64]:
    """Indices of the labelled training images, ascending: `count` in total, count/10 per digit.

    The seed determines an order of each digit's images, and the first ones are labelled. The labelled images
    for 100 labels are therefore among those for 200.
    """
    rng = np.random.default_rng(derive_seed(seed, "mnist-labels", "labelled"))
    each = count // CLASSES
    chosen = [rng.permutation(np.flatnonzero(digits == digit))[:each] for digit in range(CLASSES)]
    return np.sort(np.concatenate(chosen))
