"""StackedMNIST: n random digits stacked into the channels of one image, with 10^n modes to cover.

Proposed by Metz et al., "Unrolled Generative Adversarial Networks" (2017); the set-up follows Kumar et al.,
"Maximum Entropy Generators for Energy-Based Models" (2019), called MEG below. README.md describes the
protocols and metrics.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import (
    Data,
    DataMissing,
    DataSpec,
    Model,
    Score,
    Store,
    Task,
    UsageError,
    sheet,
)
from ebbench.data import digits, mnist
from ebbench.data.pool import to_bytes
from ebbench.metrics import coverage, image
from ebbench.metrics.digits import second
from ebbench.metrics.digits.classifier import WEIGHTS, ModeClassifier, load_clean, record

from . import classifier
from .metrics import LIMITS, METRICS
from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

# As published: training examples and evaluation samples per mode, and the seed of the training pool.
POOL_PER_MODE = 128
SAMPLES_PER_MODE = 26
POOL_SEED = 111
CHUNK = 1000
# Indices of the images in 128 * 10^n tuples must fit into 63 bits.
MOST_STACKS = 15
# Pools up to this size keep their tuples in a table (20 MB), which saves the hashing in every training step.
MOST_KEPT = 128 * 10**4
SHEET = 10
# Number of channels whose nearest training image is searched.
CHECKED = 1000
# Number of stacks whose features are compared with those of as many training stacks.
COMPARED = 10_000
# Minimum values for a sampler's channels to count as digits. Noise has no quality, and on images that are
# adversarial to the first classifier the second one disagrees.
LEAST_QUALITY, LEAST_AGREEMENT = 0.02, 0.7
LEAST_DISTINCT = 1000


class StackedMnist(Task):
    """How many of the 10^n digit combinations a sampler covers, and how evenly."""

    @dataclass(frozen=True)
    class Options:
        stacks: int = 3
        """Number of channels n, at least 1; there are 10^n modes. The papers report 3 and 4."""
        source: Literal["auto", "mnist", "digits"] = "auto"
        """The digits: MNIST, scikit-learn's bundled ones, or "auto": MNIST if it is available."""

    # 2: a clean classifier without bias on rough digits. 3: the same mode counts, but samples that are not
    # digits, copies, or only a few distinct images are not ranked. 4: density and coverage.
    version = 4
    protocols = {
        "clean": "modes by a classifier that reads rough digits too, of 99.5 % on the test set, in eval mode",
        "published": "modes by the classifier of MEG's authors, its dropout left on, as their code ran it",
    }
    needs = "sample"
    metrics = METRICS
    limits = LIMITS
    published = PUBLISHED

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        self.stacks = options.stacks
        if isinstance(self.stacks, bool) or not 1 <= self.stacks <= MOST_STACKS:
            raise UsageError(
                f"stacks={self.stacks}",
                where="option 'stacks' of task stackedmnist",
                expected=f"a whole number of 1 to {MOST_STACKS} (the papers report 3 and 4)",
            )
        source = _source(options.source, protocol, store)
        self.source = source
        self.options = replace(options, source=source)
        if self.source == "mnist":
            hashes = store.hashes("mnist")
            self.data_hashes = {file: hashes[file] for file in mnist.FILES["train"]}
        else:
            self.data_hashes = digits.hashes()

    def data_key(self) -> dict[str, Any]:
        """The training pool, which both protocols share."""
        return {
            "source": self.source,
            "split": "train",
            "stacks": self.stacks,
            "pool": POOL_PER_MODE * 10**self.stacks,
            "pool_seed": POOL_SEED,
        }

    def spec(self) -> DataSpec:
        """Images (stacks, 28, 28) with values in [-1, 1]."""
        return DataSpec(name="stackedmnist", shape=(self.stacks, 28, 28), low=-1.0, high=1.0)

    def data(self, device: torch.device) -> Data:
        """The training pool of 128*10^n stacks, as indices into the training images."""
        images, _ = self._digits
        return Stacks(torch.from_numpy(images).to(device), self.spec())

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Classify 26*10^n samples channel by channel and count the combinations."""
        clean = load_clean(self.source, scoring.device)
        noisy = classifier.load_published(scoring.device) if self.protocol == "published" else None
        n = SAMPLES_PER_MODE * 10**self.stacks
        chunks = math.ceil(n / CHUNK)
        # Samples per chunk to compare with the training images: about CHECKED channels in total.
        checked = max(1, round(CHECKED / self.stacks / chunks))
        compared = math.ceil(COMPARED / chunks)

        @torch.inference_mode()
        def count(x: Tensor) -> dict[str, np.ndarray]:
            channels = x.add(1).mul_(0.5).reshape(-1, 1, 28, 28)
            digit, good = clean.judge(channels)
            agreed = good & (self._second.digits(channels).to(digit.device) == digit)
            if noisy is not None:
                digit = noisy.digits(channels, scoring.seed)
            near = np.full((len(x), self.stacks), np.nan, np.float32)
            some = self._neighbours.distances(channels[: checked * self.stacks])
            near[:checked] = some.view(-1, self.stacks).numpy()
            return {
                "mode": coverage.mode_ids(digit.view(-1, self.stacks).cpu().numpy()),
                "good": good.view(-1, self.stacks).sum(1, dtype=torch.uint8).cpu().numpy(),
                "agreed": agreed.view(-1, self.stacks).sum(1, dtype=torch.uint8).cpu().numpy(),
                "looks": second.looks(channels).view(-1, self.stacks).numpy(),
                "near": near,
                # Only of the first few: the features of all samples of four stacks would take 270 MB.
                "features": features_of(clean, channels[: compared * self.stacks], self.stacks).numpy(),
            }

        drawn = scoring.samples(n, count, chunk=CHUNK)
        shown = scoring.samples(
            SHEET**2,
            lambda x: {"pixels": to_bytes(x, self.spec()).cpu().numpy()},
            name="sheet",
            chunk=SHEET**2,
        )
        scoring.picture("samples", sheet(tiles(shown["pixels"]), SHEET))
        made = torch.from_numpy(drawn["features"][:COMPARED])
        near_real = image.neighbours(made, self._reference(clean, scoring.device), scoring.device)
        return self._summary(drawn, near_real)

    def _reference(self, net: ModeClassifier, device: torch.device) -> image.Reference:
        """Features of the first COMPARED stacks of the pool, or of all if it has fewer."""
        pool = self.data(device)
        first = torch.arange(min(COMPARED, len(pool)), device=device)
        found = [
            features_of(net, pool[part].add(1).mul_(0.5).reshape(-1, 1, 28, 28), self.stacks)
            for part in first.split(max(1, CHUNK // self.stacks))
        ]
        return image.reference(torch.cat(found), device)

    def _summary(self, drawn: Mapping[str, NDArray[Any]], near_real: Mapping[str, float]) -> Score:
        mode, good = drawn["mode"], drawn["good"]
        n, modes = len(mode), 10**self.stacks
        floor = coverage.expected_kl_uniform(n, modes)
        quality = float(good.sum(dtype=np.int64)) / (n * self.stacks)
        agreement = float(drawn["agreed"].sum(dtype=np.int64)) / max(1, int(good.sum(dtype=np.int64)))
        distinct = len(np.unique(drawn["looks"]))
        near = drawn["near"][~np.isnan(drawn["near"])]
        frequencies = self._frequencies
        ids, counts = np.unique(mode, return_counts=True)
        marginals = [
            np.bincount(channel, weights=counts, minlength=10) / n
            for channel in coverage.mode_digits(ids, self.stacks).T
        ]
        often = np.bincount(np.minimum(counts, 100), minlength=101)
        often[0] = modes - len(ids)
        known = record(self.source, WEIGHTS)
        if self.protocol == "published":
            known = record("published", classifier.WEIGHTS)
        return Score(
            metrics={
                "modes": float(len(ids)),
                "kl": coverage.kl_to_uniform(counts, modes),
                "kl_floor": floor,
                "kl_least": floor - 6 * coverage.deviation_of_kl(n, [0.1] * 10, self.stacks),
                "kl_floor_data": coverage.expected_kl_product(n, frequencies, self.stacks),
                "kl_data": coverage.kl_to_product(ids, counts, [frequencies] * self.stacks),
                "quality": quality,
                "modes_good": float(len(np.unique(mode[good == self.stacks]))),
                "agreement": agreement,
                "are_digits": float(quality >= LEAST_QUALITY and agreement >= LEAST_AGREEMENT),
                "distinct": float(distinct),
                "many_images": float(distinct >= min(LEAST_DISTINCT, n * self.stacks / 4)),
                "share_memorised": float((near < second.COPY[self.source]).mean()),
                "density_digits": near_real["density"],
                "coverage_digits": near_real["coverage"],
            },
            details={
                "samples": n,
                "possible_modes": modes,
                # Number of modes with 0, 1, ..., 99 samples, and with 100 or more.
                "modes_by_count": often.tolist(),
                "digit_shares": [[round(float(share), 6) for share in channel] for channel in marginals],
                "digit_shares_of_data": [round(share, 6) for share in frequencies],
                # For one scoring of a perfect sampler of the data.
                "kl_floor_data_deviation": coverage.deviation_of_kl(n, frequencies, self.stacks),
                "classifier": {key: known[key] for key in ("test_accuracy", "sha256", "command")},
            },
        )

    @cached_property
    def _digits(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return mnist.load(self.store, "train") if self.source == "mnist" else digits.load("train")

    @cached_property
    def _second(self) -> second.Gaussians:
        return second.Gaussians(*self._digits)

    @cached_property
    def _neighbours(self) -> second.Neighbours:
        return second.Neighbours(self._digits[0])

    @cached_property
    def _frequencies(self) -> list[float]:
        _, labels = self._digits
        return [float(share) for share in np.bincount(labels, minlength=10) / len(labels)]


class Stacks:
    """The training pool: 128*10^n tuples of training images, drawn once with replacement, never stored whole.

    Image c of tuple i is number h(111, i*n + c) mod m of the m training images, where h is a fixed 63-bit
    hash (splitmix64). Any part of a pool of any size is thus available at once and identical on every
    machine. Small pools (n <= 4) keep the tuples in a table with the same values.
    """

    def __init__(self, images: Tensor, spec: DataSpec) -> None:
        """`images` is uint8 (m, 28, 28); the pool lives on its device."""
        self.spec = spec
        self.stacks = spec.shape[0]
        self.images = images
        self._flat = images.reshape(len(images), -1)
        self._table: Tensor | None = None
        if len(self) <= MOST_KEPT:
            index = torch.arange(len(self), device=self.device)
            # In parts, since the hash works in 64 bits and the table in 32.
            self._table = torch.cat([self.hashed_tuples(part).int() for part in index.split(1 << 18)])

    @property
    def device(self) -> torch.device:
        """The device that holds the images."""
        return self.images.device

    def __len__(self) -> int:
        return int(POOL_PER_MODE * 10**self.stacks)

    def __getitem__(self, index: Tensor) -> Tensor:
        """The stacks at `index` (int64, (k,)): float32 (k, n, 28, 28) in [-1, 1]."""
        return self._stack(self._table[index] if self._table is not None else self.hashed_tuples(index))

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` newly drawn stacks of training images, (n, stacks, 28, 28), not tuples of the pool."""
        tuples = torch.randint(
            len(self.images), (n, self.stacks), generator=generator, device=generator.device
        )
        return self._stack(tuples.to(self.device))

    def hashed_tuples(self, index: Tensor) -> Tensor:
        """The image numbers of the tuples at `index` (k,), int64 (k, n)."""
        channel = torch.arange(self.stacks, device=index.device)
        # splitmix64 (Steele, Lea and Flood, 2014) in int64, which wraps like unsigned 64-bit integers. Its
        # shifts fill with zeros; int64 shifts fill with the sign bit, which the masks clear.
        x = (index[:, None] * self.stacks + channel + 1) * -0x61C8864680B583EB + POOL_SEED
        x = (x ^ (x >> 30 & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
        x = (x ^ (x >> 27 & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
        x = (x ^ (x >> 31 & 0x1FFFFFFFF)) & 0x7FFFFFFFFFFFFFFF
        return x % len(self.images)

    def _stack(self, tuples: Tensor) -> Tensor:
        chosen = self._flat.index_select(0, tuples.flatten())
        # A division, not a multiplication by the reciprocal, so that 255 becomes exactly 1.
        return chosen.to(torch.float32).div_(127.5).sub_(1.0).view(len(tuples), self.stacks, 28, 28)


@torch.inference_mode()
def features_of(net: ModeClassifier, channels: Tensor, stacks: int) -> Tensor:
    """Features of stacks, (k, 64 * `stacks`) on the CPU: the classifier's last hidden layer of each channel.

    `channels` holds all channels of the stacks, (k * `stacks`, 1, 28, 28) in [0, 1].
    """
    return net.features(channels).reshape(-1, stacks, net.out.in_features).flatten(1).cpu()


def tiles(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Samples (k, n, 28, 28) as tiles of a sheet, (k, height, width, 3).

    Two or three channels are shown as red, green and blue, a single channel in grey. More channels are shown
    in grey, side by side.
    """
    stacks = pixels.shape[1]
    if stacks <= 3:
        colours = np.zeros((len(pixels), 28, 28, 3), dtype=np.uint8)
        colours[..., :stacks] = pixels.transpose(0, 2, 3, 1)
        return colours if stacks > 1 else np.repeat(colours[..., :1], 3, axis=3)
    side_by_side = pixels.transpose(0, 2, 1, 3).reshape(len(pixels), 28, stacks * 28)
    return np.repeat(side_by_side[..., None], 3, axis=3)


def _source(wanted: str, protocol: str, store: Store) -> Literal["mnist", "digits"]:
    """The digits to use: MNIST, downloaded if necessary, unless `wanted` or a fallback says "digits"."""
    reason = ""
    if wanted != "digits":
        try:
            for file in mnist.FILES["train"]:
                store.path("mnist", file)
            return "mnist"
        except DataMissing as error:
            if wanted == "mnist" or protocol == "published":
                raise
            reason = error.what
    if protocol == "published":
        raise UsageError(
            "protocol 'published' is about MNIST and has no classifier for scikit-learn's digits",
            where="option 'source' of task stackedmnist",
            expected="source=mnist with protocol 'published', or protocol 'clean'",
        )
    if reason:
        print(
            "MNIST is not here and could not be downloaded: running on scikit-learn's bundled digits, "
            f"source=digits; no score of it compares with MNIST ({reason})",
            file=sys.stderr,
            flush=True,
        )
    return "digits"
