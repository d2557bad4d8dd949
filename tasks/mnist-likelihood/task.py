"""Likelihoods of digits: log-likelihood bounds of a model of one digit, on that digit and on other images.

The other images are the other digits, and images of another kind. Balaji et al. (2019) plot these three
histograms. README.md describes the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from ebbench import Data, DataSpec, Metric, Model, Score, Store, Task, UsageError, derive_seed
from ebbench.data import cifar10, mnist, svhn
from ebbench.data.pool import Pool, in_range
from ebbench.metrics import detection

if TYPE_CHECKING:
    from ebbench import Scoring

# Test images of each kind. A bound may cost seconds per image.
COUNT = 500
# Luma of ITU-R BT.601, the usual conversion to grey.
GREY = (0.299, 0.587, 0.114)


class MnistLikelihood(Task):
    """How well a log-likelihood bound separates the trained digit from other digits and other images."""

    @dataclass(frozen=True)
    class Options:
        data: Literal["mnist", "svhn"] = "mnist"
        """The digits: MNIST (the paper), or SVHN's house numbers in colour, 32x32."""
        digit: int = 1
        """The digit to train on, 0 to 9 (the paper: 1)."""
        dissimilar: Literal["auto", "cifar10-jpeg75", "none"] = "auto"
        """The images of another kind: CIFAR-10's JPEG copies, for MNIST in grey and 28x28 (the paper); "auto"
        uses them if available."""

    version = 1
    protocols = {
        "clean": "trained on the training images of one digit; bounds of 500 test images of that digit, of "
        "500 of the others and of 500 of another kind",
    }
    needs = "log_likelihood_bound"
    metrics = (
        # Not ranked: pixels are discrete, so a model that learns its noise variance can shrink it for a
        # higher bound.
        Metric(
            name="bound",
            unit="nats",
            better="neither",
            primary=True,
            doc="mean bound of test images of the digit, as a density on [-1, 1]^784 (SVHN: ^3072); "
            "between models it compares the scales of their noise",
        ),
        Metric(name="bound_others", unit="nats", better="neither", doc="mean bound of the other digits"),
        Metric(name="bound_dissimilar", unit="nats", better="neither", doc="mean bound of the other kind"),
        Metric(
            name="auroc_others",
            unit="share",
            better="higher",
            primary=True,
            doc="the chance that an image of the digit has a higher bound than one of another digit",
        ),
        Metric(
            name="auroc_dissimilar",
            unit="share",
            better="higher",
            doc="the chance that it has a higher bound than one of another kind",
        ),
    )

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        if isinstance(options.digit, bool) or not 0 <= options.digit <= 9:
            raise UsageError(
                f"digit={options.digit}", where="option 'digit' of task mnist-likelihood", expected="0 to 9"
            )
        self.source = options.data
        self.data_hashes = store.hashes(options.data)
        kind = options.dissimilar
        if kind == "auto":
            # A missing file is no error here; a damaged file raises an error on reading.
            (here,) = store.survey(cifar10.JPEG)
            kind = "none" if here.state == "missing" else "cifar10-jpeg75"
            self.options = replace(options, dissimilar=kind)
        if kind != "none":
            self.data_hashes = {**self.data_hashes, **store.hashes(cifar10.JPEG)}

    def data_key(self) -> dict[str, Any]:
        """The digit; the hashes identify its data set."""
        return {"digit": self.options.digit}

    def spec(self) -> DataSpec:
        """Images with values in [-1, 1]: (1, 28, 28), or (3, 32, 32) for SVHN."""
        shape = (1, 28, 28) if self.options.data == "mnist" else (3, 32, 32)
        return DataSpec(name="mnist-likelihood", shape=shape, low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """The training images of the digit, without held-out images."""
        images, labels = self._load("train")
        train = torch.from_numpy(images[labels == self.options.digit])
        # No held-out images: the digit's test images are only for scoring.
        return Pool(train, None, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """The mean bound of each kind of images, and how well the bound separates the kinds."""
        bounds = {
            kind: -scoring.scores(images, only=("log_likelihood_bound",))["log_likelihood_bound"]
            for kind, images in self._test.items()
        }
        own = bounds["digit"]
        metrics = {"bound": float(own.mean())}
        for kind, values in bounds.items():
            if kind != "digit":
                metrics[f"bound_{kind}"] = float(values.mean())
                positive = np.repeat([True, False], [len(own), len(values)])
                metrics[f"auroc_{kind}"] = detection.areas(np.concatenate([own, values]), positive)["auroc"]
        scoring.picture("histograms", _histograms(bounds, self.options))
        quantiles = {
            kind: np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]).tolist()
            for kind, values in bounds.items()
        }
        return Score(metrics, {"quantiles": quantiles})

    def _load(self, split: Literal["train", "test"]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The images (n, *shape) of a split and their digits (n,)."""
        if self.options.data == "svhn":
            return svhn.load(self.store, split)
        images, labels = mnist.load(self.store, split)
        return images[:, None], labels

    @cached_property
    def _test(self) -> Mapping[str, Tensor]:
        """The test images of each kind, (COUNT, *shape); the same for every seed."""
        images, labels = self._load("test")
        rng = np.random.default_rng(derive_seed(0, "mnist-likelihood"))
        own, others = (
            rng.permutation(np.flatnonzero(chosen))[:COUNT]
            for chosen in (labels == self.options.digit, labels != self.options.digit)
        )
        kinds = {
            "digit": in_range(torch.from_numpy(images[own]), self.spec()),
            "others": in_range(torch.from_numpy(images[others]), self.spec()),
        }
        if self.options.dissimilar != "none":
            pictures = cifar10.load(self.store, "test", cifar10.JPEG)[0]
            chosen = torch.from_numpy(pictures[rng.permutation(len(pictures))[:COUNT]])
            kinds["dissimilar"] = in_range(chosen, self.spec())
            if self.options.data == "mnist":
                grey = (chosen.float() * torch.tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
                small = interpolate(grey, size=(28, 28), mode="bilinear", antialias=True, align_corners=False)
                # Interpolation can leave the range by rounding.
                kinds["dissimilar"] = (small / 127.5 - 1).clamp(-1.0, 1.0)
        return kinds


def _histograms(
    bounds: Mapping[str, NDArray[np.float64]], options: MnistLikelihood.Options
) -> NDArray[np.uint8]:
    """The three histograms on one axis, from the lowest 1 % quantile to the highest bound."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    together = np.concatenate(list(bounds.values()))
    edges = np.linspace(np.quantile(together, 0.01), together.max(), 60)
    pictures = "CIFAR-10, grey" if options.data == "mnist" else "CIFAR-10"
    names = {"digit": f"digit {options.digit}", "others": "other digits", "dissimilar": pictures}
    for kind, values in bounds.items():
        axes.hist(values, edges.tolist(), histtype="step", label=names[kind])
    axes.set_xlabel("bound of the log-likelihood, nats")
    axes.set_ylabel("test images")
    axes.legend(frameon=False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
