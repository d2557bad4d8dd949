"""MNIST with a held-out digit: a model trains on nine digits, and the tenth is the anomaly.

Introduced by Zenati et al. (2018) and used by Kumar et al., MEG (2019). README.md describes the protocols.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import Data, DataSpec, Limit, Metric, Model, Score, Store, Task, UsageError, mean_score
from ebbench.data import mnist
from ebbench.data.pool import Pool, in_range
from ebbench.metrics import detection

from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

DIGITS = range(10)
# The digits in the papers' tables.
PAPERS_DIGITS = (1, 4, 5, 7, 9)
TRAIN_SHARE = 0.8
PUBLISHED_SPLIT = 42
# At this average precision a ranking must come from the labels.
PERFECT = 1 - 1e-6


@dataclass(frozen=True)
class _Split:
    """Indices of training and test images among all 70,000, and which test images are anomalous."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    anomalous: NDArray[np.bool_]


class MnistAnomaly(Task):
    """How well a score finds a digit that was held out of training; each held-out digit is a part."""

    @dataclass(frozen=True)
    class Options:
        digit: int | Literal["all", "papers"] = "all"
        """The held-out digit, 0 to 9. "all" trains ten times, holding out each digit once; "papers" trains
        five times, for the digits of the papers' tables (1, 4, 5, 7, 9)."""

    # 2: ranked by average precision, since the trapezoid area favours tied scores.
    version = 2
    protocols = {
        "clean": "four fifths of the other digits are trained on, a fifth and the digit tested, "
        "split by the run's seed",
        "published": "the released code's split, in which four fifths of the tested normal images were "
        "trained on; scores before each epoch",
    }
    needs = "energy"
    metrics = (
        Metric(
            name="average_precision",
            unit="share",
            better="higher",
            primary=True,
            doc="precision averaged over the recall, at every threshold; mean over the digits",
        ),
        Metric(
            name="auprc",
            unit="share",
            better="higher",
            doc="area under precision and recall by trapezoids, as the papers report it; where scores tie "
            "it pays for nothing; mean over the digits",
        ),
        Metric(
            name="auprc_last10",
            unit="share",
            better="higher",
            doc="the same, averaged over the last ten evaluations along training (MEG's statistic); for "
            "want of ten it is left out",
        ),
        Metric(
            name="auroc",
            unit="share",
            better="higher",
            doc="the chance that an image of the digit has a higher score than another; mean over the digits",
        ),
        Metric(
            name="prevalence",
            unit="share",
            better="neither",
            doc="images of the digit in the test set: the average precision of chance; mean over the digits",
        ),
        *(
            Metric(name=f"{name}_{digit}", unit="share", better="higher", doc=f"{name} with {digit} held out")
            for name in ("average_precision", "auprc", "auprc_last10")
            for digit in DIGITS
        ),
    )
    limits = (
        Limit(
            metric="average_precision",
            most=PERFECT,
            why="a score that was trained without labels does not rank every image right",
        ),
    )
    published = PUBLISHED

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        several = ("all", "papers")
        if options.digit not in several and (isinstance(options.digit, bool) or options.digit not in DIGITS):
            raise UsageError(
                f"digit={options.digit}",
                where="option 'digit' of task mnist-anomaly",
                expected='a digit of 0 to 9, "all" or "papers"',
            )
        self.source = "mnist"
        self.data_hashes = store.hashes("mnist")
        self.split = PUBLISHED_SPLIT

    def parts(self, seed: int) -> Mapping[str, Task]:
        """One training per held-out digit, on the seed's split (`clean`) or the released code's."""
        split = seed if self.protocol == "clean" else PUBLISHED_SPLIT
        if isinstance(self.options.digit, int):
            return {"": self.part(self.options.digit, split)}
        digits = DIGITS if self.options.digit == "all" else PAPERS_DIGITS
        return {f"digit {digit}": self.part(digit, split) for digit in digits}

    def part(self, digit: int, split: int) -> Self:
        """This task with one held-out digit. The files are read once for all digits."""
        _ = self._pool
        part = copy.copy(self)
        part.options, part.split = replace(self.options, digit=digit), split
        part.__dict__.pop("_indices", None)
        return part

    def data_key(self) -> dict[str, Any]:
        """The held-out digit and the split."""
        return {"digit": self.options.digit, "split": self.split, "protocol": self.protocol}

    def spec(self) -> DataSpec:
        """Images (1, 28, 28) with values in [-1, 1]."""
        return DataSpec(name="mnist-anomaly", shape=(1, 28, 28), low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """The training images of the nine digits, without held-out images."""
        # No held-out images: the others of the nine digits are test images.
        return Pool(self._pool[0][self._indices.train], None, self.spec(), device)

    def evaluate(self, model: Model, scoring: Scoring) -> Mapping[str, float]:
        """Area metrics of each score."""
        return {
            f"{name}.{metric}": value
            for name, values in scoring.scores(self._test).items()
            for metric, value in detection.areas(values, self._indices.anomalous).items()
        }

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Score the test images with every score of the model; the metrics are the declared score's."""
        split, made = self._indices, scoring.scores(self._test)
        measured = {name: detection.areas(values, split.anomalous) for name, values in made.items()}
        along = scoring.evaluations.series.get(f"{scoring.declared}.auprc", [])
        last_ten = detection.mean_of_last_ten(along, final=self.protocol == "clean")
        declared = measured[scoring.declared]
        digit = self.options.digit
        return Score(
            metrics=declared
            | {"prevalence": float(split.anomalous.mean())}
            | {f"{name}_{digit}": declared[name] for name in ("average_precision", "auprc")}
            | ({} if last_ten is None else {"auprc_last10": last_ten, f"auprc_last10_{digit}": last_ten}),
            details={
                "trained_on": len(split.train),
                "tested_on": len(split.test),
                "tested_normals_trained_on": self.leak(),
                "scores": measured,
                "drawn": {name: detection.drawn(values, split.anomalous) for name, values in made.items()},
            },
        )

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The mean over the held-out digits, and each digit's area."""
        return mean_score(scores)

    def leak(self) -> float:
        """Share of the test images of the nine digits that are also training images."""
        split = self._indices
        return float(np.isin(split.test[~split.anomalous], split.train).mean())

    @cached_property
    def _pool(self) -> tuple[Tensor, NDArray[np.uint8]]:
        """All 70,000 images, uint8 (70000, 1, 28, 28), training set first, and their labels."""
        images, labels = zip(*(mnist.load(self.store, name) for name in ("train", "test")), strict=True)
        return torch.from_numpy(np.concatenate(images))[:, None], np.concatenate(labels)

    @cached_property
    def _indices(self) -> _Split:
        labels, digit = self._pool[1], self.options.digit
        # The authors' files split the training images into two parts and put the second part last.
        pool = np.arange(70_000)
        if self.protocol == "published":
            pool = np.concatenate([pool[:50_000], pool[60_000:], pool[50_000:60_000]])
        held_out, normal = (pool[labels[pool] == digit], pool[labels[pool] != digit])
        cut = int(TRAIN_SHARE * len(normal))
        random = np.random.RandomState(self.split)
        order = again = random.permutation(normal)
        if self.protocol == "published":
            # The bug: for the test set the code shuffles again, so its last fifth is a different one. Before
            # that it shuffles the test set that came with the training set.
            random.permutation(len(normal) - cut + len(held_out))
            again = random.permutation(normal)
        test = np.concatenate([again[cut:], held_out])
        return _Split(order[:cut], test, np.arange(len(test)) >= len(normal) - cut)

    @property
    def _test(self) -> Tensor:
        return in_range(self._pool[0][self._indices.test], self.spec())
