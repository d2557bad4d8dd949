"""The digit classifiers that count modes, and the quality measure of the clean one.

Both take images with values in [0, 1], (n, 1, 28, 28), and know 10 digits.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

WEIGHTS = Path(__file__).parent / "weights"
FEATURES = 64
# Images classified at once; small enough for the activations to stay in a CPU's cache.
BATCH = 500


class ModeClassifier(nn.Module):
    """The clean classifier: three stride-2 convolutions and two linear layers, 1.07 M multiply-adds.

    Small strides and many channels cost too much: 4 stacks need 1.04 million classifications.
    Beside the weights it keeps what the quality measure needs (see `judge`), set by `calibrate`.
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
        """Of each image: its digit, the confidence in it, and the squared distance to its class.

        The confidence is the greatest softmax probability. The distance is Mahalanobis', between
        the image's features and the mean features of training images of that digit, under the
        covariance within classes, which all classes share.
        """
        features = self.features(x)
        confidence, digit = self.out(F.relu(features)).softmax(1).max(1)
        distance = ((features - self.centroids[digit]) @ self.whitening).square().sum(1)
        return digit, confidence, distance

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The digits, int64 (n,), and whether each image counts as a digit at all, bool (n,).

        An image is good if the classifier is confident of it and its features lie near those of
        real images of that digit. Confidence alone is no sign: uniform noise passes it every time,
        but its features are far from every class.
        """
        digits, good = [], []
        for part in x.split(BATCH):
            digit, confidence, distance = self.measure(part)
            digits.append(digit)
            good.append((confidence >= self.confidence_threshold) & (distance <= self.distance_threshold))
        return torch.cat(digits), torch.cat(good)

    @torch.no_grad()
    def calibrate(self, train: Tensor, labels: Tensor, held_out: Tensor, share: float = 0.95) -> None:
        """Set the class statistics from training images and the thresholds from held-out ones.

        `train` and `held_out` are images in [0, 1], `labels` int64. Half of the held-out images to
        be turned away fall to the confidence, the rest to the distance: `share` of them are good.
        """
        features = torch.cat([self.features(part) for part in train.split(BATCH)]).double()
        centroids = torch.stack([features[labels == digit].mean(0) for digit in range(10)])
        within = features - centroids[labels]
        covariance = within.T @ within / len(within)
        # A thousandth of the mean variance keeps the inverse tame where features are collinear.
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
        """Fold the batch norms into the convolutions and order memory for speed; eval mode only."""
        for i in "123":
            conv, norm = getattr(self, "conv" + i), getattr(self, "norm" + i)
            setattr(self, "conv" + i, fuse_conv_bn_eval(conv, norm))
            setattr(self, "norm" + i, nn.Identity())
        self.to(memory_format=torch.channels_last)


class PublishedClassifier(nn.Module):
    """The classifier of MEG's authors: the PyTorch MNIST example of the time (2018).

    They never put it in eval mode, so its dropout (whole feature maps after the second convolution,
    single units before the last layer, each with probability 1/2) is part of the protocol.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, 5)
        self.conv2 = nn.Conv2d(10, 20, 5)
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The logits, (n, 10); with dropout if a CPU generator for its masks is given."""
        maps, units = self._masks(len(x), generator, x.device)
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x) * maps, 2))
        x = F.relu(self.fc1(x.flatten(1))) * units
        logits: Tensor = self.fc2(x)
        return logits

    def digits(self, x: Tensor, seed: int) -> Tensor:
        """The digits, int64 (n,), with dropout: the same for the same images and seed.

        The masks are drawn from the seed and the images' bytes, so that they hang neither on the
        global random state nor on which chunks an interrupted scoring has behind it.
        """
        content = x.to("cpu", torch.float32).contiguous().numpy()
        digest = hashlib.blake2b(content.data, digest_size=8, key=seed.to_bytes(16, "big", signed=True))
        generator = torch.Generator().manual_seed(int.from_bytes(digest.digest(), "big") >> 1)
        return torch.cat([self(part, generator).argmax(1) for part in x.split(BATCH)])

    @staticmethod
    def _masks(n: int, generator: torch.Generator | None, device: torch.device) -> tuple[Tensor, Tensor]:
        if generator is None:
            one = torch.ones((), device=device)
            return one, one
        kept = 2.0 * (torch.rand(n, 70, generator=generator) < 0.5)
        return kept[:, :20, None, None].to(device), kept[:, 20:].to(device)


def load_clean(source: str, device: torch.device) -> ModeClassifier:
    """The clean classifier for "mnist" or "digits", in eval mode, ready for speed."""
    # Built without values on the meta device: initial weights would use up global random numbers.
    with torch.device("meta"):
        net = ModeClassifier()
    net.load_state_dict(load_file(WEIGHTS / f"{source}.safetensors"), assign=True)
    net.eval().requires_grad_(False)
    net.fuse()
    return net.to(device)


def load_published(device: torch.device) -> PublishedClassifier:
    """The published classifier; dropout is on where `digits` is called."""
    with torch.device("meta"):
        net = PublishedClassifier()
    net.load_state_dict(load_file(WEIGHTS / "published.safetensors"), assign=True)
    return net.eval().requires_grad_(False).to(device)


def record(name: str) -> dict[str, Any]:
    """The sidecar of a classifier: command, seed, accuracy, hashes."""
    read: dict[str, Any] = json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))
    return read
