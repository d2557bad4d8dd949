"""MNIST: quality and diversity of samples of single digits.

The score is that of the grid search in "Energy-based Generative Adversarial Networks" (Zhao, Mathieu, LeCun
2017), next to today's usual metrics. README.md explains each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ebbench import Data, DataSpec, Model, Score, Store, Task, sheet
from ebbench.data import mnist
from ebbench.data.pool import Pool, to_bytes
from ebbench.metrics import coverage, features, image
from ebbench.metrics.digits import second
from ebbench.metrics.digits.classifier import SHA256, WEIGHTS, ModeClassifier, load_clean, record

from .inception import modified_score
from .metrics import LIMITS, METRICS
from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

SAMPLES = 10_000
CHUNK = 1000
SHEET = 10
# Every sixth training image: as many as samples, so that precision and recall are measured alike.
EVERY = 6
# Number of samples whose nearest training image is searched.
CHECKED = 1000
# Mean Euclidean distance of a thousand test images to it, for pixels in [0, 1]. A test measures it.
NEAREST_OF_TEST = 4.227
# Minimum share of samples for a digit to count as covered: a tenth of an even share.
LEAST_SHARE = 0.01
# As in StackedMNIST: samples below are not digits, or are adversarial to the classifier.
LEAST_QUALITY, LEAST_AGREEMENT = 0.02, 0.7
LEAST_DISTINCT = 1000


class Mnist(Task):
    """EBGAN's modified inception score, and related metrics, of 10,000 samples."""

    @dataclass(frozen=True)
    class Options:
        """No options."""

    version = 1
    protocols = {
        "clean": "10,000 samples, rounded to bytes, by the project's classifier of 99.5 % on the test set; "
        "distances to 10,000 training images",
    }
    needs = "sample"
    metrics = METRICS
    limits = LIMITS
    published = PUBLISHED

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        self.source = "mnist"
        self.data_hashes = store.hashes("mnist")

    def data_key(self) -> dict[str, Any]:
        """The training split."""
        return {"split": "train"}

    def spec(self) -> DataSpec:
        """Images (1, 28, 28) with values in [-1, 1]."""
        return DataSpec(name="mnist", shape=(1, 28, 28), low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """The training images as data, the test images as held-out examples."""
        return Pool(self._train, self._test, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Draw the samples, classify each once, and compare them with the training images."""
        net = load_clean("mnist", scoring.device)
        extractor = features.Extractor("digits", _Digits(net), SHA256["mnist.safetensors"])
        real = features.reference(
            self._train[::EVERY],
            extractor,
            {"files": dict(self.data_hashes), "split": "train", "every": EVERY},
            scoring.device,
            scoring.note,
        )
        checked = CHECKED * CHUNK // SAMPLES

        @torch.inference_mode()
        def measured(x: Tensor) -> dict[str, NDArray[Any]]:
            pixels = to_bytes(x, self.spec())
            of_net, logits = extractor(pixels)
            inside = pixels.float() / 255
            digit, good = net.judge(inside)
            agreed = good & (self._second.digits(inside).to(digit.device) == digit)
            near = np.full(len(x), np.nan, np.float32)
            near[:checked] = self._neighbours.distances(inside[:checked]).numpy()
            return {
                "features": of_net.numpy(),
                "logits": logits.numpy(),
                "digit": digit.to(torch.uint8).cpu().numpy(),
                "good": good.cpu().numpy(),
                "agreed": agreed.cpu().numpy(),
                "looks": second.looks(inside).numpy(),
                "near": near,
            }

        drawn = scoring.samples(SAMPLES, measured, chunk=CHUNK)
        shown = scoring.samples(
            SHEET**2,
            lambda x: {"pixels": to_bytes(x, self.spec()).cpu().numpy()},
            name="sheet",
            chunk=SHEET**2,
        )
        grey = shown["pixels"].transpose(0, 2, 3, 1)
        scoring.picture("samples", sheet(np.repeat(grey, 3, axis=3), SHEET))
        return self._summary(drawn, real, scoring.device)

    def _summary(
        self, drawn: Mapping[str, NDArray[Any]], real: image.Reference, device: torch.device
    ) -> Score:
        of_samples, logits = (torch.from_numpy(drawn[name]) for name in ("features", "logits"))
        score, spread = image.inception_score(logits)
        near_real = image.neighbours(of_samples, real, device)
        good = drawn["good"]
        counts = np.bincount(drawn["digit"], minlength=10)
        good_shares = np.bincount(drawn["digit"][good], minlength=10) / len(good)
        quality = float(good.mean())
        agreement = float(drawn["agreed"].sum()) / max(1, int(good.sum()))
        distinct = len(np.unique(drawn["looks"]))
        near = drawn["near"][~np.isnan(drawn["near"])]
        met = np.flatnonzero(counts)
        known = record("mnist", WEIGHTS)
        return Score(
            metrics={
                "i_prime": modified_score(logits),
                "i_prime_plain": modified_score(logits, power=1),
                "fid_digits": image.frechet_distance(image.moments(of_samples), real.moments),
                "is_digits": score,
                "precision_digits": near_real["precision"],
                "recall_digits": near_real["recall"],
                "classes": float((good_shares >= LEAST_SHARE).sum()),
                "kl_classes": coverage.kl_to_product(met, counts[met], [self._frequencies]),
                "quality": quality,
                "agreement": agreement,
                "are_digits": float(quality >= LEAST_QUALITY and agreement >= LEAST_AGREEMENT),
                "distinct": float(distinct),
                "many_images": float(distinct >= LEAST_DISTINCT),
                "nearest_ratio": float(near.mean()) / NEAREST_OF_TEST,
                "share_memorised": float((near < second.COPY["mnist"]).mean()),
            },
            details={
                "samples": len(good),
                "reference": len(real.features),
                "inception_score_spread_over_splits": spread,
                "digit_shares": [round(float(share), 6) for share in counts / len(good)],
                "digit_shares_of_data": [round(share, 6) for share in self._frequencies],
                "nearest_distance": float(near.mean()),
                "nearest_distance_of_test_images": NEAREST_OF_TEST,
                "classifier": {key: known[key] for key in ("test_accuracy", "sha256", "command")},
            },
        )

    @cached_property
    def _train(self) -> Tensor:
        return torch.from_numpy(mnist.load(self.store, "train")[0])[:, None]

    @cached_property
    def _test(self) -> Tensor:
        return torch.from_numpy(mnist.load(self.store, "test")[0])[:, None]

    @cached_property
    def _labels(self) -> NDArray[np.uint8]:
        return mnist.load(self.store, "train")[1]

    @cached_property
    def _second(self) -> second.Gaussians:
        # Fitted to a sixth of the images: equally accurate and six times as fast.
        return second.Gaussians(self._train[::EVERY, 0].numpy(), self._labels[::EVERY])

    @cached_property
    def _neighbours(self) -> second.Neighbours:
        return second.Neighbours(self._train[:, 0].numpy())

    @cached_property
    def _frequencies(self) -> list[float]:
        return [float(share) for share in np.bincount(self._labels, minlength=10) / len(self._labels)]


class _Digits(nn.Module):
    """The classifier as a feature extractor for uint8 images (n, 1, 28, 28)."""

    def __init__(self, net: ModeClassifier) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden layer before its ReLU, (n, 64), and the logits, (n, 10)."""
        found = self.net.features(pixels.float() / 255)
        return found, self.net.out(found.relu())
