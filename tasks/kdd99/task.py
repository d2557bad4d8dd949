"""KDD99: train on attacks only, then find the normal connections.

Introduced by Zong et al., DAGMM (2018), and used by Zenati et al. (2018) and Kumar et al., MEG (2019).
"Normal." is the anomaly class, because it is the file's smaller class (a fifth). README.md describes the
protocols.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import Data, DataSpec, Limit, Metric, Model, Score, Store, Task
from ebbench.data import kdd99
from ebbench.data.pool import Pool
from ebbench.metrics import detection

from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

TRAIN_SHARE = 0.5
# Share of the test set that is flagged: the anomaly share that DAGMM's authors assume.
FLAGGED = 0.2
PUBLISHED_SPLIT = 42
# At this average precision a ranking must come from the labels.
PERFECT = 1 - 1e-6
# Number of columns with the whole file's vocabulary, as in the papers' code.
COLUMNS = 121


@dataclass(frozen=True)
class _Arrays:
    """One encoded split: training and test rows, float32 (n, columns), and which test rows are anomalies."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    anomalous: NDArray[np.bool_]


class Kdd99(Task):
    """How well a score finds normal connections after training on attacks only."""

    version = 1
    protocols = {
        "clean": "split by the run's seed, categories and min-max scaling of the training attacks, "
        "exactly a fifth of the test set flagged",
        "published": "as MEG's and Zenati's code ran it: one split (seed 42), 121 columns, not scaled, "
        "every score from the 80th percentile on flagged, scores before each epoch",
    }
    needs = "energy"
    metrics = (
        Metric(
            name="f1",
            unit="share",
            better="higher",
            primary=True,
            doc="F1 of the declared score after training, normal connections being the positives",
        ),
        Metric(
            name="f1_last10",
            unit="share",
            better="higher",
            doc="the same, averaged over the last ten evaluations along training (MEG's statistic); for "
            "want of ten it is left out",
        ),
        Metric(name="precision", unit="share", better="higher", doc="normal among the flagged"),
        Metric(name="recall", unit="share", better="higher", doc="flagged among the normal"),
        Metric(
            name="average_precision",
            unit="share",
            better="higher",
            doc="precision averaged over the recall, at every threshold",
        ),
        Metric(
            name="auroc",
            unit="share",
            better="higher",
            doc="the chance that a normal connection has a higher score than an attack",
        ),
        Metric(
            name="prevalence",
            unit="share",
            better="neither",
            doc="normal connections in the test set: the average precision of chance",
        ),
        Metric(
            name="ceiling",
            unit="share",
            better="neither",
            doc="f1 of a perfect ranking, since more is flagged than is normal",
        ),
    )
    limits = (
        Limit(
            metric="average_precision",
            most=PERFECT,
            why="a score that was trained without labels does not rank every connection right",
        ),
    )
    published = PUBLISHED

    def __init__(self, options: Any, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        self.source = "kdd99"
        self.data_hashes = store.hashes("kdd99")
        self.split: int | None = None if protocol == "clean" else PUBLISHED_SPLIT

    def parts(self, seed: int) -> Mapping[str, Task]:
        """The task on one split: that of `seed` under `clean`, always the same under `published`."""
        return {"": self if self.protocol == "published" else self.with_split(seed)}

    def with_split(self, split: int) -> Self:
        """This task on the split with that number. The file is read once for all splits."""
        _ = self._records
        part = copy.copy(self)
        part.split = split
        part.__dict__.pop("_arrays", None)
        return part

    def data_key(self) -> dict[str, Any]:
        """The split and its encoding."""
        return {"split": self.split, "encoding": self.protocol}

    def spec(self) -> DataSpec:
        """Unbounded vectors (columns,); under `clean` the split's own vocabulary determines their length."""
        known = self.split is not None and self.protocol == "clean"
        size = self._arrays.train.shape[1] if known else COLUMNS
        return DataSpec(name="kdd99", shape=(size,))

    def data(self, device: torch.device) -> Data:
        """The attacks of the training half, without held-out rows."""
        # No held-out rows: all other attacks are test rows.
        return Pool(torch.from_numpy(self._arrays.train), None, self.spec(), device)

    def evaluate(self, model: Model, scoring: Scoring) -> Mapping[str, float]:
        """F1, average precision and AUROC of each score."""
        return {
            f"{name}.{metric}": value
            for name, measured in self._measured(scoring.scores(self._test)).items()
            for metric, value in measured.items()
            if metric in ("f1", "average_precision", "auroc")
        }

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Score the test half with every score of the model; the metrics are the declared score's."""
        arrays, made = self._arrays, scoring.scores(self._test)
        measured = self._measured(made)
        f1_along = scoring.evaluations.series.get(f"{scoring.declared}.f1", [])
        last_ten = detection.mean_of_last_ten(f1_along, final=self.protocol == "clean")
        n, positives = len(arrays.anomalous), int(arrays.anomalous.sum())
        declared = dict(measured[scoring.declared])
        del declared["auprc"]
        return Score(
            metrics=declared
            | ({} if last_ten is None else {"f1_last10": last_ten})
            | {
                "prevalence": positives / n,
                "ceiling": detection.ceiling(n, positives, FLAGGED),
            },
            details={
                "columns": arrays.train.shape[1],
                "trained_on": len(arrays.train),
                "tested_on": n,
                "scores": measured,
                "drawn": {name: detection.drawn(values, arrays.anomalous) for name, values in made.items()},
            },
        )

    def _measured(self, made: Mapping[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
        anomalous = self._arrays.anomalous
        return {
            name: (
                detection.flagged_share(values, anomalous, FLAGGED)
                if self.protocol == "clean"
                else detection.flagged_at_percentile(values, anomalous, 100 * (1 - FLAGGED))
            )
            | detection.areas(values, anomalous)
            for name, values in made.items()
        }

    @cached_property
    def _records(self) -> Any:
        return kdd99.load(self.store)

    @cached_property
    def _arrays(self) -> _Arrays:
        return self._encode()

    @property
    def _test(self) -> Tensor:
        return torch.from_numpy(self._arrays.test)

    def _encode(self) -> _Arrays:
        from sklearn.preprocessing import MinMaxScaler

        records = self._records
        # The papers' code draws the training half by pandas' sample; the remaining rows are the test half.
        drawn = records.sample(frac=TRAIN_SHARE, random_state=self.split).index.to_numpy()
        in_train = np.zeros(len(records), bool)
        in_train[drawn] = True
        anomalous = (records[kdd99.LABEL] == kdd99.NORMAL).to_numpy()
        train = records.iloc[drawn[~anomalous[drawn]]]
        test = records[~in_train]
        encoding = kdd99.fit(train if self.protocol == "clean" else records)
        x_train, x_test = encoding.encode(train), encoding.encode(test)
        if self.protocol == "clean":
            scaler = MinMaxScaler().fit(x_train)
            x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
        return _Arrays(x_train, x_test, anomalous[~in_train])
