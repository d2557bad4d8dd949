"""CIFAR-10: quality and diversity of samples, measured with the features of a fixed network.

Fréchet inception distance (Heusel et al. 2017), inception score (Salimans et al. 2016), kernel inception
distance (Bińkowski et al. 2018), precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem
et al. 2020). README.md lists what is pinned and what the metrics' names mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import Data, DataSpec, Limit, Metric, Model, Score, Store, Task, sheet
from ebbench.data import cifar10
from ebbench.data.pool import Pool
from ebbench.metrics import copies, extractors, features, image
from ebbench.metrics.cifar import resnet

from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

CHUNK = 1000
SHEET = 10
# Number of samples shown with their nearest training images, and how many of those.
SHOWN, NEAREST = 10, 5
COUNTS = (50_000, 10_000, 5_000, 1_000)
# Distance below which an image is a copy: the 1 % quantile of the distances of training images to their
# nearest other training image. A test measures it.
COPY = 0.62


def suffix(extractor: str, samples: int) -> str:
    """The ending of metric names: empty for Inception and 50,000 samples."""
    return extractors.SUFFIX[extractor] + ("" if samples == COUNTS[0] else f"_{samples // 1000}k")


def _metrics(extractor: str, samples: int) -> tuple[Metric, ...]:
    end = suffix(extractor, samples)
    of = f"{samples:,} samples, features of {extractors.TITLE[extractor]}"
    return (
        Metric(
            name=f"fid{end}",
            unit="",
            better="lower",
            primary=True,
            doc=f"Fréchet distance of the features' Gaussians, {of}",
        ),
        Metric(
            name=f"is{end}",
            unit="",
            better="higher",
            primary=True,
            doc=f"inception score: exp E KL(p(y|x) || p(y)), mean over 10 splits, {of}",
        ),
        Metric(
            name=f"kid{end}",
            unit="",
            better="lower",
            doc=f"kernel distance (squared MMD with a cubic kernel), mean over 100 subsets of 1,000, {of}",
        ),
        Metric(
            name=f"precision{end}",
            unit="share",
            better="higher",
            doc=f"share of samples within reach of a real image, {of}",
        ),
        Metric(
            name=f"recall{end}",
            unit="share",
            better="higher",
            doc=f"share of real images within reach of a sample, {of}",
        ),
        Metric(
            name=f"density{end}",
            unit="",
            better="higher",
            doc=f"real images within whose reach a sample lies, over 5; about 1 for real images, {of}",
        ),
        Metric(
            name=f"coverage{end}",
            unit="share",
            better="higher",
            doc=f"share of real images with a sample within their reach, to which no outlier adds, {of}",
        ),
    )


MEMORISED = Metric(
    name="share_memorised",
    unit="share",
    better="lower",
    doc="of 1,000 samples, those nearer to a training image, or to its mirror image, than 99 of 100 training "
    "images are to the next one; .01 for real test images",
)


class Cifar10(Task):
    """IS, FID and related metrics of samples, compared with the training or the test images."""

    @dataclass(frozen=True)
    class Options:
        samples: Literal[50_000, 10_000, 5_000, 1_000] = 50_000
        """Number of samples to score; the metric's name contains it if it is below 50,000 (fid_5k)."""
        features: Literal["auto", "inception", "cifar-resnet"] = "auto"
        """Network whose features are compared; "auto" is Inception if its weights are available."""
        source: Literal["auto", "cifar10", "cifar10-jpeg75"] = "auto"
        """The images; "auto" takes the exact pixels if available, else the JPEG copies, else downloads
        them."""

    # 2: samples that copy training images are not ranked.
    version = 2
    protocols: ClassVar[dict[str, str]] = {
        "train-reference": "compared with the 50,000 training images (MEG, WGAN-GP, most of the field)",
        "test-reference": "compared with the 10,000 test images (SN-GAN's code)",
    }
    needs = "sample"
    metrics = (
        *(metric for name in ("inception", resnet.NAME) for n in COUNTS for metric in _metrics(name, n)),
        MEMORISED,
    )
    limits = (Limit(metric="share_memorised", most=0.5, why="most of it are copies of training images"),)
    published = PUBLISHED

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        source: Any = options.source
        if source == "auto":
            source = cifar10.source_here(store) or "cifar10"
        extractor = extractors.chosen(options.features, store)
        self.source = source
        self.options = replace(options, source=source, features=extractor)
        self.data_hashes = cifar10.hashes(store, source)
        self.metrics = (*_metrics(extractor, options.samples), MEMORISED)

    def data_key(self) -> dict[str, Any]:
        """The training split."""
        return {"split": "train"}

    def spec(self) -> DataSpec:
        """Images (3, 32, 32) with values in [-1, 1]."""
        return DataSpec(name="cifar10", shape=(3, 32, 32), low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """The training images as data, the test images as held-out examples."""
        train, test = self._images
        return Pool(train, test, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Draw the samples, extract their features once, and compare them with the reference's."""
        extractor = self.extractor(scoring.device)

        def measured(pixels: Tensor) -> dict[str, NDArray[Any]]:
            found, logits = extractor(pixels)
            return {"features": found.numpy(), "logits": logits.numpy()}

        n = self.options.samples
        drawn = scoring.images(n, measured, chunk=CHUNK)
        of_samples, logits = (torch.from_numpy(drawn[name]) for name in ("features", "logits"))
        train = self.reference("train", extractor, scoring.device, scoring.note)
        real = train
        if self.protocol == "test-reference":
            real = self.reference("test", extractor, scoring.device, scoring.note)
        size = of_samples.shape[1]
        singular = n <= size
        if singular:
            scoring.note(f"fewer samples ({n:,}) than features ({size:,}): FID is of a singular covariance")
        scoring.note(f"comparing {n:,} samples with {len(real.features):,} real images")
        found = image.quality(of_samples, logits, real, scoring.device)

        images = drawn["images"]
        scoring.picture("samples", sheet(_tiles(images[: SHEET**2]), SHEET))
        scoring.picture("nearest", self._nearest(images[:SHOWN], of_samples[:SHOWN], train.features))
        spread = found.pop("is_std")
        end = suffix(self.options.features, n)
        return Score(
            {name + end: value for name, value in found.items()}
            | {"share_memorised": copies.share_memorised(torch.from_numpy(images), self._images[0], COPY)},
            {
                "samples": n,
                "reference": len(real.features),
                "inception_score_spread_over_splits": spread,
                "features": size,
                # If True, part of its null space comes from the number of samples, not from the model.
                "covariance_is_singular": singular,
                "extractor": {"name": extractor.name, "sha256": extractor.sha256},
            },
        )

    def extractor(self, device: torch.device) -> features.Extractor:
        """The network whose features are compared, on `device`."""
        return extractors.extractor(self.options.features, self.store, device)

    def reference(
        self, split: str, extractor: features.Extractor, device: torch.device, note: Callable[[str], None]
    ) -> image.Reference:
        """Features of the "train" or "test" images; `note` receives a message if they must be computed."""
        train, test = self._images
        key = {"files": dict(self.data_hashes), "source": self.source, "split": split}
        return features.reference(train if split == "train" else test, extractor, key, device, note)

    def _nearest(self, images: NDArray[np.uint8], of_samples: Tensor, of_train: Tensor) -> NDArray[np.uint8]:
        """Each sample beside the training images with the nearest features, to make copies visible."""
        nearest = torch.cdist(of_samples, of_train).topk(NEAREST, largest=False).indices
        beside = self._images[0][nearest].numpy()
        rows = np.concatenate([images[:, None], beside], axis=1)
        return sheet(_tiles(rows.reshape(-1, *images.shape[1:])), 1 + NEAREST)

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor]:
        source: Any = self.source
        train, test = (cifar10.load(self.store, split, source)[0] for split in ("train", "test"))
        return torch.from_numpy(train), torch.from_numpy(test)


def _tiles(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images.transpose(0, 2, 3, 1)
