"""The project's digit classifier, and its test of whether an image is a digit at all.

It takes images (n, 1, 28, 28) with values in [0, 1] and knows 10 digits. `tasks/stackedmnist` trains it and
documents the training (train_classifier.py).
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ebbench.errors import DataError

WEIGHTS = Path(__file__).parent / "weights"
# Scores by different weights are not comparable. New weights must be pinned here, which changes the hash of
# every task that uses them.
SHA256 = {
    "mnist.safetensors": "ede0ffc6dd61152186ce95d4a5d48c3b1204075d429f60e4f514e4f231de631f",
    "digits.safetensors": "d4dd9bb70e7d92738d65bdc6108554c66191edd926a339e70d7f3097178d90d0",
}
FEATURES = 64
# Batch size of classification, small enough for the activations to fit in a CPU's cache.
BATCH = 500


class ModeClassifier(nn.Module):
    """The classifier: three stride-2 convolutions and two linear layers, 1.07 M multiply-adds per image.

    It is small because four stacks need 1.04 million classifications. Its buffers hold the statistics and
    thresholds of the quality test (see `judge`), which `calibrate` sets.
    """

    centroids: Tensor
    whitening: Tensor
    confidence_threshold: Tensor
    distance_threshold: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False)
        self.norm1: nn.Module = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 5, stride=2, padding=2, bias=False)
        self.norm2: nn.Module = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False)
        self.norm3: nn.Module = nn.BatchNorm2d(64)
        self.embed = nn.Linear(64 * 4 * 4, FEATURES, bias=False)
        self.norm4 = nn.BatchNorm1d(FEATURES)
        self.out = nn.Linear(FEATURES, 10)
        self.register_buffer("centroids", torch.zeros(10, FEATURES))
        self.register_buffer("whitening", torch.eye(FEATURES))
        self.register_buffer("confidence_threshold", torch.zeros(()))
        self.register_buffer("distance_threshold", torch.full((), torch.inf))

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer before its ReLU, (n, 64)."""
        x = F.relu_(self.norm1(self.conv1(x)))
        x = F.relu_(self.norm2(self.conv2(x)))
        x = F.relu_(self.norm3(self.conv3(x)))
        hidden: Tensor = self.norm4(self.embed(x.flatten(1)))
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        """The logits, (n, 10)."""
        logits: Tensor = self.out(F.relu(self.features(x)))
        return logits

    def measure(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each image: its digit, the confidence in it, and the squared distance to its class, (n,) each.

        The confidence is the largest softmax probability. The distance is the Mahalanobis distance from the
        image's features to the mean features of training images of that digit, under a within-class
        covariance that all classes share.
        """
        features = self.features(x)
        confidence, digit = self.out(F.relu(features)).softmax(1).max(1)
        distance = ((features - self.centroids[digit]) @ self.whitening).square().sum(1)
        return digit, confidence, distance

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The digits, int64 (n,), and whether each image counts as a digit at all, bool (n,).

        An image is good if the classifier is confident and the features lie near those of real images of that
        digit. Confidence alone is not enough: uniform noise always passes it, but its features are far from
        every class.
        """
        digits, good = [], []
        for part in x.split(BATCH):
            digit, confidence, distance = self.measure(part)
            digits.append(digit)
            good.append((confidence >= self.confidence_threshold) & (distance <= self.distance_threshold))
        return torch.cat(digits), torch.cat(good)

    @torch.no_grad()
    def calibrate(self, train: Tensor, labels: Tensor, held_out: Tensor, share: float = 0.95) -> None:
        """Set the class statistics from training images and the thresholds from held-out images.

        `train` and `held_out` are images in [0, 1], `labels` int64. A `share` of the held-out images passes
        both thresholds; confidence and distance each reject half of the others.
        """
        features = torch.cat([self.features(part) for part in train.split(BATCH)]).double()
        centroids = torch.stack([features[labels == digit].mean(0) for digit in range(10)])
        within = features - centroids[labels]
        covariance = within.T @ within / len(within)
        # A ridge of a thousandth of the mean variance keeps the inverse stable for collinear features.
        covariance += 1e-3 * covariance.diagonal().mean() * torch.eye(FEATURES, dtype=torch.float64)
        whitening = torch.linalg.inv(torch.linalg.cholesky(covariance)).T
        self.centroids.copy_(centroids)
        self.whitening.copy_(whitening)
        measured = [self.measure(part) for part in held_out.split(BATCH)]
        confidence = torch.cat([part[1] for part in measured])
        distance = torch.cat([part[2] for part in measured])
        sure = (1 + share) / 2
        self.confidence_threshold.copy_(confidence.quantile(1 - sure))
        kept = distance[confidence >= self.confidence_threshold]
        self.distance_threshold.copy_(kept.quantile(share / sure))

    def fuse(self) -> None:
        """Fold the batch norms into the convolutions and use channels-last memory. For eval mode only."""
        for i in "123":
            conv, norm = getattr(self, "conv" + i), getattr(self, "norm" + i)
            setattr(self, "conv" + i, fuse_conv_bn_eval(conv, norm))
            setattr(self, "norm" + i, nn.Identity())
        self.to(memory_format=torch.channels_last)


def load_clean(source: str, device: torch.device) -> ModeClassifier:
    """The classifier for "mnist" or "digits" (scikit-learn's), in eval mode and fused, on `device`.

    Raises DataError if its weights are not those that tasks score by.
    """
    content = _checked(f"{source}.safetensors")
    # On the meta device, since initialising weights would consume global random numbers.
    with torch.device("meta"):
        net = ModeClassifier()
    net.load_state_dict(load(content), assign=True)
    net.eval().requires_grad_(False)
    net.fuse()
    return net.to(device)


def record(name: str, folder: Path = WEIGHTS) -> dict[str, Any]:
    """The metadata file of a classifier's weights: command, seed, accuracy, hashes."""
    read: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return read


def _checked(file: str) -> bytes:
    path = WEIGHTS / file
    content = path.read_bytes() if path.exists() else b""
    found = hashlib.sha256(content).hexdigest() if content else "no file"
    if found != SHA256[file]:
        raise DataError(
            "the weights of the classifier of digits are not those that tasks score by",
            where=str(path),
            expected=f"SHA-256 {SHA256[file]}; found {found}",
            fix="take the file from the repository: other weights would score otherwise",
        )
    return content
