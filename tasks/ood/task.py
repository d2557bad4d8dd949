"""Out-of-distribution detection: is the energy higher on images of another kind than on test images?

Training is on MNIST or CIFAR-10, as in Nalisnick et al. (2019), Do Deep Generative Models Know What They
Don't Know?, and Grathwohl et al. (2020, JEM). README.md describes the image sets and what the controls show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ebbench import Data, DataSpec, Limit, Metric, Model, Score, Store, Task, UsageError, derive_seed, sheet
from ebbench.data import cifar10, mnist, svhn
from ebbench.data.pool import Pool, in_range
from ebbench.metrics import detection

from . import sets

if TYPE_CHECKING:
    from ebbench import Scoring

Images = NDArray[np.uint8]

# Number of images per set, and of test images. An energy may cost a second per image.
COUNT = 1000
CLASSES = range(10)
# The means are over these sets, which exist for every model and option.
SETS = {
    "other": "images of the other data set (CIFAR-10 in grey, 28x28; MNIST with a rim, in three channels)",
    "noise": "images whose every value is an independent byte",
    "constant": "images of one colour",
    "shuffled": "other test images, the pixels of each in a random order",
    "blurred": "other test images under a Gaussian blur of 1.5 pixels",
}
BESIDE = {
    "held_out": "test images of the class that is held out of training (option held_out)",
    "svhn": "test images of SVHN, for data=cifar10 where its file is here",
}
# Number of images of each set in the picture.
SHOWN = 10
PERFECT = 1 - 1e-6


class Ood(Task):
    """How well an energy separates test images from images of another kind."""

    @dataclass(frozen=True)
    class Options:
        data: Literal["mnist", "cifar10"] = "mnist"
        """The data set to train on; the other one is an out-of-distribution set."""
        held_out: int | Literal["none"] = "none"
        """A class, 0 to 9, that is removed from training and test images and becomes a set of its own."""
        source: Literal["auto", "cifar10", "cifar10-jpeg75"] = "auto"
        """CIFAR-10's images; "auto" is the exact pixels if available, else the JPEG copies."""
        svhn: Literal["auto", "yes", "none"] = "auto"
        """SVHN as an additional set for data=cifar10, not part of the means; "auto" uses it if available."""

    version = 1
    protocols = {
        "clean": "1,000 test images against 1,000 of each set; trained on the training images alone",
    }
    needs = "energy"
    metrics = (
        Metric(
            name="auroc",
            unit="share",
            better="higher",
            primary=True,
            doc="the chance that a set's image has a higher energy than a test image; mean over five sets",
        ),
        Metric(
            name="average_precision",
            unit="share",
            better="higher",
            doc="precision averaged over the recall, half of the images of the set; mean over five sets",
        ),
        Metric(
            name="auroc_least",
            unit="share",
            better="higher",
            doc="the least of the five: below .5 the energy finds that set more typical than test images",
        ),
        *(
            Metric(name=f"{measure}_{name}", unit="share", better="higher", doc=f"{measure}: {what}")
            for measure in ("auroc", "average_precision")
            for name, what in (SETS | BESIDE).items()
        ),
    )
    limits = (
        Limit(
            metric="average_precision",
            most=PERFECT,
            why="a score that was trained without the sets does not rank every image of all of them right",
        ),
    )

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        held_out = options.held_out
        if held_out != "none" and (isinstance(held_out, bool) or held_out not in CLASSES):
            raise UsageError(
                f"held_out={held_out}", where="option 'held_out' of task ood", expected='0 to 9, or "none"'
            )
        if options.svhn == "yes" and options.data != "cifar10":
            raise UsageError(
                f"svhn=yes with data={options.data}",
                where="option 'svhn' of task ood",
                expected="data=cifar10, whose images are of its size",
            )
        source: Any = options.source
        if source == "auto":
            source = cifar10.source_here(store) or "cifar10"
        street = options.svhn
        if street == "auto":
            street = "yes" if options.data == "cifar10" and svhn.here(store, "test") else "none"
        self.options = replace(options, source=source, svhn=street)
        self.source = "mnist" if options.data == "mnist" else source
        self.data_hashes = {**store.hashes("mnist"), **cifar10.hashes(store, source)}
        if street == "yes":
            name = svhn.FILES["test"]
            self.data_hashes = {**self.data_hashes, name: store.hashes("svhn")[name]}

    def data_key(self) -> dict[str, Any]:
        """The training data set and the held-out class."""
        return {"data": self.options.data, "held_out": self.options.held_out}

    def spec(self) -> DataSpec:
        """Images (1, 28, 28) or (3, 32, 32) with values in [-1, 1]."""
        shape = (1, 28, 28) if self.options.data == "mnist" else (3, 32, 32)
        return DataSpec(name="ood", shape=shape, low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """The training images, without the held-out class."""
        images, classes = self._load(self.options.data, "train")
        # No held-out images: the test images are only for scoring.
        return Pool(torch.from_numpy(images[classes != self._held_out]), None, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Score every set with every score of the model; the metrics are the declared score's."""
        tested = self.tested()
        together = in_range(torch.from_numpy(np.concatenate(list(tested.values()))), self.spec())
        measured, found = {}, scoring.scores(together)
        ends = np.cumsum([len(images) for images in tested.values()])[:-1]
        for name, values in found.items():
            test, *others = np.split(values, ends)
            measured[name] = _measure(test, dict(zip(list(tested)[1:], others, strict=True)))
        scoring.picture("sets", sheet(_tiles(tested), SHOWN))
        return Score(
            measured[scoring.declared],
            {
                "test_images": COUNT,
                "sets": {name: len(images) for name, images in tested.items() if name != "test"},
                "scores": measured,
            },
        )

    def tested(self) -> dict[str, Images]:
        """The test images as "test", then each set, uint8 (1000, *shape); the same for every seed."""
        o = self.options
        rng = np.random.default_rng(derive_seed(0, "ood"))
        images, classes = self._load(o.data, "test")
        known = rng.permutation(np.flatnonzero(classes != self._held_out))
        test, to_shuffle, to_blur = (images[known[i * COUNT : (i + 1) * COUNT]] for i in range(3))
        other = self._load("cifar10" if o.data == "mnist" else "mnist", "test")[0]
        other = other[rng.permutation(len(other))[:COUNT]]
        made = {
            "test": test,
            "other": sets.as_digits(other) if o.data == "mnist" else sets.as_pictures(other),
            "noise": sets.noise(test.shape, rng),
            "constant": sets.constant(test.shape, rng),
            "shuffled": sets.shuffled(to_shuffle, rng),
            "blurred": sets.blurred(to_blur),
        }
        if o.held_out != "none":
            of_class = rng.permutation(np.flatnonzero(classes == self._held_out))
            made["held_out"] = images[of_class[:COUNT]]
        if o.svhn == "yes":
            street, _ = svhn.load(self.store, "test")
            made["svhn"] = street[rng.permutation(len(street))[:COUNT]]
        return made

    @property
    def _held_out(self) -> int:
        """The held-out class, or -1 if there is none."""
        return -1 if self.options.held_out == "none" else self.options.held_out

    def _load(self, data: str, split: Literal["train", "test"]) -> tuple[Images, NDArray[np.uint8]]:
        """Images (n, *shape) and their classes (n,)."""
        if data == "mnist":
            images, classes = mnist.load(self.store, split)
            return images[:, None], classes
        source: Any = self.options.source
        return cifar10.load(self.store, split, source)


def _measure(test: NDArray[np.floating], found: Mapping[str, NDArray[np.floating]]) -> dict[str, float]:
    """AUROC and average precision of each set against the test images, and their means over the sets."""
    areas = {
        name: detection.areas(
            np.concatenate([test, values]), np.repeat([False, True], [len(test), len(values)])
        )
        for name, values in found.items()
    }
    return {
        **{
            measure: float(np.mean([areas[name][measure] for name in SETS]))
            for measure in ("auroc", "average_precision")
        },
        "auroc_least": min(areas[name]["auroc"] for name in SETS),
        **{
            f"{measure}_{name}": areas[name][measure]
            for name in areas
            for measure in ("auroc", "average_precision")
        },
    }


def _tiles(tested: Mapping[str, Images]) -> Images:
    """The first images of each set as tiles (k, h, w, 3), one row per set."""
    rows = np.concatenate([images[:SHOWN] for images in tested.values()]).transpose(0, 2, 3, 1)
    return np.repeat(rows, 3, axis=3) if rows.shape[3] == 1 else rows
