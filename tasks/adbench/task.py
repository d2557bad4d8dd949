"""ADBench: anomaly detection on many real tabular data sets.

Han, Hu, Huang, Jiang, Zhao (NeurIPS 2022). README.md describes the protocols and which data sets are ranked
on.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ebbench import Data, DataSpec, Limit, Metric, Model, Score, Store, Task, UsageError, mean_score
from ebbench.data import adbench
from ebbench.data.pool import Pool
from ebbench.metrics import detection

from .published import PUBLISHED
from .splits import Split, as_adbench, one_class, watched

if TYPE_CHECKING:
    from ebbench import Scoring

# The methods' settings were chosen on these three, so no ranking uses them.
TUNING = ("Pima", "Waveform", "campaign")
ALL = tuple(name for name in adbench.SETS if name not in TUNING)
# Ten for a quick look: few rows, 6 to 64 columns, 2 to 36 % anomalies.
SMALL = (
    "breastw",
    "cardio",
    "Ionosphere",
    "letter",
    "optdigits",
    "satellite",
    "thyroid",
    "vowels",
    "WDBC",
    "yeast",
)
NAMED = {"all": ALL, "small": SMALL}
# At this average precision a ranking must come from the labels. On a single easy set an honest score can
# reach it.
PERFECT = 1 - 1e-6
LEAST_SETS = 5


@dataclass(frozen=True)
class _Arrays:
    """One scaled split: training and test rows, float32 (n, columns), and which test rows are anomalies."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    anomalous: NDArray[np.bool_]
    leak: float


class AdBench(Task):
    """How well a score finds anomalous rows; each data set is a part with a training of its own."""

    @dataclass(frozen=True)
    class Options:
        sets: str | int = "all"
        """The data sets: "all" (40), "small" (ten of them), or comma-separated names or numbers. The three on
        which settings were chosen (Pima, Waveform, campaign) are only used if named."""

    version = 1
    protocols = {
        "one-class": "half of the normal rows are trained on, split by the run's seed; the others and all "
        "anomalies are tested; columns standardised by the training rows",
        "adbench": "as ADBench's code: 70 % of the rows are trained on, anomalies among them, and 30 % "
        "tested, by class; columns brought to [0, 1]; small sets drawn up to 1,000 rows with repeats",
    }
    needs = "energy"
    metrics = (
        Metric(
            name="average_precision",
            unit="share",
            better="higher",
            primary=True,
            doc="precision averaged over the recall, at every threshold; mean over the data sets",
        ),
        Metric(
            name="auroc",
            unit="share",
            better="higher",
            doc="the chance that an anomaly has a higher score than a normal row; mean over the data sets",
        ),
        Metric(
            name="precision_at_n",
            unit="share",
            better="higher",
            doc="anomalies among the n rows of the highest scores, n being the number of anomalies; scores "
            "that tie count by their expected number; mean over the data sets",
        ),
        Metric(
            name="prevalence",
            unit="share",
            better="neither",
            doc="anomalies among the tested rows: the average precision of chance; mean over the data sets",
        ),
        Metric(
            name="lowest_average_precision",
            unit="share",
            better="neither",
            doc="the average precision on the set where it is lowest; for want of five sets it is left out",
        ),
    )
    limits = (
        Limit(
            metric="lowest_average_precision",
            most=PERFECT,
            why="a score that was trained without labels does not rank every row of every set right",
        ),
    )
    published = PUBLISHED
    # In a small table every step is an epoch.
    most_evaluations = 5

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        self.sets = _chosen(str(options.sets))
        if options.sets not in NAMED:
            # One canonical name per choice, however it is written.
            self.options = replace(options, sets=",".join(self.sets))
        self.source = adbench.DATASET
        hashes = store.hashes(adbench.DATASET)
        self.data_hashes = {file: hashes[file] for file in (adbench.SETS[name].file for name in self.sets)}
        self.split: int | None = None

    def parts(self, seed: int) -> Mapping[str, Task]:
        """One training per data set, on the split of `seed`."""
        return {name: self.part(name, seed) for name in self.sets}

    def part(self, name: str, split: int) -> Self:
        """This task on one data set and its split with that number."""
        part = copy.copy(self)
        part.options, part.sets, part.split = replace(self.options, sets=name), (name,), split
        file = adbench.SETS[name].file
        part.data_hashes = {file: self.data_hashes[file]}
        part.__dict__.pop("_arrays", None)
        return part

    def data_key(self) -> dict[str, Any]:
        """The data sets, the split, and the protocol, which determines the scaling."""
        return {"sets": list(self.sets), "split": self.split, "protocol": self.protocol}

    def spec(self) -> DataSpec:
        """Unbounded vectors (columns,), of the (first) data set's number of columns."""
        return DataSpec(name="adbench", shape=(adbench.SETS[self.sets[0]].columns,))

    def data(self, device: torch.device) -> Data:
        """The training rows."""
        # No held-out rows: all others are test rows.
        return Pool(torch.from_numpy(self._arrays.train), None, self.spec(), device)

    def evaluate(self, model: Model, scoring: Scoring) -> Mapping[str, float]:
        """Average precision and AUROC of each score, on a subset of the test rows (`splits.watched`)."""
        chosen = watched(self._arrays.anomalous)
        made = scoring.scores(torch.from_numpy(self._arrays.test[chosen]))
        return {
            f"{name}.{metric}": value
            for name, values in made.items()
            for metric, value in _measured(values, self._arrays.anomalous[chosen]).items()
            if metric in ("average_precision", "auroc")
        }

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Score the test rows with every score of the model; the metrics are the declared score's."""
        arrays = self._arrays
        made = scoring.scores(torch.from_numpy(arrays.test))
        measured = {name: _measured(values, arrays.anomalous) for name, values in made.items()}
        return Score(
            metrics=measured[scoring.declared] | {"prevalence": float(arrays.anomalous.mean())},
            details={
                "columns": arrays.train.shape[1],
                "trained_on": len(arrays.train),
                "tested_on": len(arrays.test),
                "tested_rows_trained_on": arrays.leak,
                "scores": measured,
            },
        )

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The mean over the data sets and the lowest average precision. Each data set has its own part."""
        together = mean_score(scores)
        if len(scores) < LEAST_SETS:
            return together
        lowest = min(score.metrics["average_precision"] for score in scores.values())
        return Score({**together.metrics, "lowest_average_precision": lowest}, together.details)

    @cached_property
    def _arrays(self) -> _Arrays:
        from sklearn.preprocessing import MinMaxScaler, StandardScaler

        (name,), seed = self.sets, self.split
        assert seed is not None
        rows, anomalous = adbench.load(self.store, name)
        split = split_of(anomalous, name, self.protocol, seed)
        # Both scalers only shift a column that is constant in the training rows.
        scaler = StandardScaler() if self.protocol == "one-class" else MinMaxScaler()
        scaler.fit(rows[split.train])
        return _Arrays(
            train=scaler.transform(rows[split.train]).astype(np.float32),
            test=scaler.transform(rows[split.test]).astype(np.float32),
            anomalous=anomalous[split.test],
            leak=float(np.isin(split.test, split.train).mean()),
        )


def split_of(anomalous: NDArray[np.bool_], name: str, protocol: str, seed: int) -> Split:
    """The training and test rows of a data set under a protocol, for a run with `seed`."""
    if protocol == "adbench":
        return as_adbench(anomalous, seed)
    return one_class(anomalous, np.random.default_rng([seed, adbench.SETS[name].number]))


def _measured(scores: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> dict[str, float]:
    areas = detection.areas(scores, anomalous)
    at_n = detection.flagged_share(scores, anomalous, float(anomalous.mean()))
    return {
        "average_precision": areas["average_precision"],
        "auroc": areas["auroc"],
        "precision_at_n": at_n["precision"],
    }


def _chosen(given: str) -> tuple[str, ...]:
    """The names of the data sets that an option selects, in ADBench's order."""
    where = "option 'sets' of task adbench"
    if given in NAMED:
        return NAMED[given]
    names = [adbench.find(name, where).name for name in given.split(",") if name.strip()]
    if not names or len(set(names)) != len(names):
        raise UsageError(
            f"sets={given!r} names {'a set twice' if names else 'no set'}",
            where=where,
            expected='"all", "small", or names or numbers of data sets, each once, with commas between',
        )
    return tuple(name for name in adbench.SETS if name in names)
