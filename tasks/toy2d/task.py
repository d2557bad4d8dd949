"""Three distributions ("laws") in the plane with known density: 8 Gaussians, 25 Gaussians, a Swiss roll.

The data are those of Gulrajani et al. (2017), gan_toy.py, which MEG's code also uses. README.md describes the
metrics of samples and of energies.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ebbench import Data, DataSpec, Limit, Metric, Model, Score, Store, Task, derive_seed, mean_score
from ebbench.data.pool import Pool
from ebbench.metrics import landscape
from ebbench.metrics.coverage import kl_to_uniform

from .published import PUBLISHED

if TYPE_CHECKING:
    from ebbench import Scoring

TRAIN, SAMPLES = 100_000, 10_000
# MEG plots its densities on this square and grid. Every law lies well inside it. A cell is at most 0.6
# standard deviations wide, for which the sum over a Gaussian is exact to 1e-20.
HALF_WIDTH, CELLS = 2.0, 500
# A sample farther than this from every mode, in standard deviations, is spurious.
SPURIOUS = 5.0
# Minimum height of a peak of the density, as a share of the highest peak.
LEAST_PEAK = 0.1

LAWS = ("8gaussians", "25gaussians", "swissroll")
# Mean sliced Wasserstein distance between two sets of 10,000 real points; a test measures it again.
OF_REAL_POINTS = {"8gaussians": 0.0145, "25gaussians": 0.0156, "swissroll": 0.0156}
# The smallest of two dozen such distances is .37 of the mean; independent points do not come as close as a
# fifth.
NEAREST = 0.2
# A KL divergence is at least 0, but its estimate from 10,000 points can be slightly lower.
LEAST_KL = -0.05


@dataclass(frozen=True)
class Law:
    """A uniform mixture of isotropic Gaussians with `centres` (k, 2) and one standard deviation `std`.

    A Swiss roll is one too, with so many centres along its curve that they blend; `modal` says whether the
    centres are modes to count.
    """

    centres: NDArray[np.float64]
    std: float
    modal: bool

    def draw(self, n: int, seed: int) -> NDArray[np.float32]:
        """`n` independent points, float32 (n, 2)."""
        rng = np.random.default_rng(seed)
        chosen = self.centres[rng.integers(len(self.centres), size=n)]
        points: NDArray[np.float32] = (chosen + self.std * rng.standard_normal((n, 2))).astype(np.float32)
        return points

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), float64 (n,), nats, for x (n, 2)."""
        centres = torch.from_numpy(self.centres).to(x.device)
        constant = math.log(len(centres)) + math.log(2 * math.pi * self.std**2)
        parts = [
            torch.logsumexp(-torch.cdist(part, centres).square() / (2 * self.std**2), 1)
            for part in x.double().split(4096)
        ]
        return torch.cat(parts) - constant


@cache
def law(name: str) -> Law:
    """The law called `name`, one of `LAWS`, in Gulrajani's units."""
    if name == "8gaussians":
        angles = np.arange(8) * np.pi / 4
        scale = 1.414
        return Law(2 / scale * np.stack([np.cos(angles), np.sin(angles)], 1), 0.02 / scale, True)
    if name == "25gaussians":
        axis = np.arange(-2, 3) * 2.0
        scale = 2.828
        x, y = np.meshgrid(axis, axis)
        return Law(np.stack([x.ravel(), y.ravel()], 1) / scale, 0.05 / scale, True)
    # scikit-learn's make_swiss_roll, columns 0 and 2: t (cos t, sin t), t uniform on [1.5 pi, 4.5 pi]. A
    # piece is at most 0.9 standard deviations long, so the sum differs from the integral by less than 1e-9.
    pieces = 600
    t = 1.5 * np.pi * (1 + 2 * (np.arange(pieces) + 0.5) / pieces)
    return Law(t[:, None] * np.stack([np.cos(t), np.sin(t)], 1) / 7.5, 0.25 / 7.5, False)


class LawPool(Pool):
    """Training points from a law, and fresh draws on request."""

    def __init__(self, law: Law, seed: int, spec: DataSpec, device: torch.device) -> None:
        examples = torch.from_numpy(law.draw(TRAIN, seed))
        super().__init__(examples, examples[:0], spec, device)
        self._law = law

    def fresh(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` fresh draws, (n, 2)."""
        seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
        return torch.from_numpy(self._law.draw(n, seed)).to(self.device)

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), (n,), nats."""
        return self._law.log_density(x)


# Name, unit, direction, description. Each law has its own metric; the plain name is the mean over the laws.
_METRICS: tuple[tuple[str, str, Literal["higher", "lower", "neither"], str], ...] = (
    (
        "sliced_wasserstein",
        "data units",
        "lower",
        "sliced 1-Wasserstein distance of 10,000 samples to as many real points",
    ),
    (
        "high_quality_3",
        "share",
        "higher",
        "samples within 3 standard deviations of the nearest mode (of the roll's curve)",
    ),
    ("high_quality_4", "share", "higher", "samples within 4 standard deviations of it"),
    (
        "reverse_kl",
        "nats",
        "lower",
        "KL(modes of the samples || uniform), every sample given to its nearest mode",
    ),
    ("kl", "nats", "lower", "KL(data || exp(-E) / Z), Z by integration over [-2, 2]^2"),
    (
        "spurious_mass",
        "share",
        "lower",
        "mass of exp(-E) / Z farther than 5 standard deviations from every mode",
    ),
    (
        "spurious_peaks",
        "count",
        "lower",
        "local maxima of the density there, of a tenth of the highest or more",
    ),
)
_NAMES = tuple(name for name, *_ in _METRICS)
_MODAL = ("reverse_kl",)


class Toy2d(Task):
    """How well samples and energies match a known density in the plane; each law is a part."""

    @dataclass(frozen=True)
    class Options:
        law: Literal["all", "8gaussians", "25gaussians", "swissroll"] = "all"
        """The law; "all" trains once on each."""

    version = 1
    protocols = {
        "clean": "100,000 points to train on, 10,000 samples, thresholds scaled with the data; energies "
        "normalised on [-2, 2]^2 by a grid of 500 x 500",
    }
    needs = "sample"
    metrics = (
        *(
            Metric(name=name, unit=unit, better=better, doc=f"{doc}; mean over the laws", primary=not index)
            for index, (name, unit, better, doc) in enumerate(_METRICS)
        ),
        *(
            Metric(name=f"{name}_{law}", unit=unit, better=better, doc=f"{name} on {law}")
            for name, unit, better, _ in _METRICS
            for law in LAWS
            if name not in _MODAL or law != "swissroll"
        ),
        *(
            Metric(
                name=f"modes_{law}",
                unit="modes",
                better="higher",
                doc=f"modes of {law} with a sample within 3 standard deviations",
            )
            for law in LAWS[:2]
        ),
        Metric(
            name="sliced_wasserstein_least",
            unit="data units",
            better="neither",
            doc="a fifth of the mean sliced_wasserstein of real points; mean over the laws",
        ),
    )
    limits = (
        Limit(
            metric="sliced_wasserstein",
            least="sliced_wasserstein_least",
            why="independent points, even real ones, never come so near to others",
        ),
        *(
            Limit(
                metric=f"sliced_wasserstein_{law}",
                least=NEAREST * OF_REAL_POINTS[law],
                why="independent points, even real ones, never come so near to others",
            )
            for law in LAWS
        ),
        *(
            Limit(metric=name, least=LEAST_KL, why="a Kullback-Leibler divergence is not below 0")
            for name in ("kl", *(f"kl_{law}" for law in LAWS))
        ),
    )
    published = PUBLISHED

    def __init__(self, options: Options, protocol: str, store: Store) -> None:
        super().__init__(options, protocol, store)
        self.source = "synthetic"
        self.data_hashes: Mapping[str, str] = {}
        self.seed = 0

    def parts(self, seed: int) -> Mapping[str, Task]:
        """One training per law, with the points drawn by the seed."""
        if self.options.law != "all":
            return {"": self.part(self.options.law, seed)}
        return {name: self.part(name, seed) for name in LAWS}

    def part(self, name: str, seed: int) -> Toy2d:
        """This task on one law."""
        part = copy.copy(self)
        part.options, part.seed = replace(self.options, law=name), seed
        return part

    def data_key(self) -> dict[str, Any]:
        """The law and the seed of the draws."""
        return {"law": self.options.law, "seed": self.seed, "train": TRAIN}

    def spec(self) -> DataSpec:
        """Unbounded points (2,): models do not know the range."""
        return DataSpec(name="toy2d", shape=(2,))

    def data(self, device: torch.device) -> Data:
        """The training points."""
        seed = derive_seed(self.seed, "toy2d", self.options.law, "train")
        return LawPool(law(self.options.law), seed, self.spec(), device)

    def score(self, model: Model, scoring: Scoring) -> Score:
        """Compare the samples with the law, and so the energy's density if the model has an energy."""
        name, truth = self.options.law, law(self.options.law)
        drawn = scoring.samples(SAMPLES, lambda x: {"x": x.cpu().numpy()})["x"]
        real = truth.draw(SAMPLES, derive_seed(self.seed, "toy2d", name, "held out"))
        distance, mode = landscape.nearest(drawn, truth.centres)
        metrics = {
            "sliced_wasserstein": landscape.sliced_wasserstein(drawn, real),
            "sliced_wasserstein_least": NEAREST * OF_REAL_POINTS[name],
            "high_quality_3": float((distance < 3 * truth.std).mean()),
            "high_quality_4": float((distance < 4 * truth.std).mean()),
        }
        counted: dict[str, float] = {}
        if truth.modal:
            metrics["reverse_kl"] = kl_to_uniform(np.bincount(mode), len(truth.centres))
            good = mode[distance < 3 * truth.std]
            counted[f"modes_{name}"] = float(len(np.unique(good)))
        details: dict[str, Any] = {}
        mass = None
        if scoring.scored_by("energy"):
            found, details, mass = self._landscape(scoring, real)
            metrics |= found
        scoring.picture("landscape", _picture(drawn[:5000], mass))
        by_law = {f"{key}_{name}": value for key, value in metrics.items() if key in _NAMES}
        return Score(metrics | by_law | counted, details)

    def _landscape(
        self, scoring: Scoring, real: NDArray[np.float32]
    ) -> tuple[dict[str, float], dict[str, Any], NDArray[np.float64]]:
        """Metrics of the energy as a density on the square, details, and the mass of each cell."""
        truth = law(self.options.law)
        points, area = landscape.grid(HALF_WIDTH, CELLS)
        energy = scoring.scores(torch.from_numpy(points).float(), only=("energy",))["energy"]
        at_data = scoring.scores(torch.from_numpy(real), only=("energy",))["energy"]
        log_z = landscape.log_partition(energy, area)
        # Every other cell in each direction, to check that the grid is fine enough.
        coarse = landscape.log_partition(energy.reshape(CELLS, CELLS)[::2, ::2].ravel(), 4 * area)
        mass = landscape.masses(energy)
        far = landscape.nearest(points, truth.centres)[0] > SPURIOUS * truth.std
        peaks = landscape.peaks(mass, CELLS, LEAST_PEAK)
        metrics = {
            "kl": float(truth.log_density(torch.from_numpy(real)).mean()) + float(at_data.mean()) + log_z,
            "spurious_mass": float(mass[far].sum()),
            "spurious_peaks": float(far[peaks].sum()),
        }
        details = {"log_partition": log_z, "log_partition_coarse": coarse, "peaks": len(peaks)}
        return metrics, details, mass

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The mean over the laws, and each law's metrics."""
        return mean_score(scores)


def _picture(samples: NDArray[np.floating], mass: NDArray[np.float64] | None) -> NDArray[np.uint8]:
    """Samples as dark points, beside the log density (dark is high)."""
    panels = [np.full((CELLS, CELLS), 255, np.uint8)]
    cells = np.floor((samples + HALF_WIDTH) / (2 * HALF_WIDTH) * CELLS).astype(np.int64)
    inside = ((cells >= 0) & (cells < CELLS)).all(1)
    panels[0][cells[inside, 1], cells[inside, 0]] = 0
    if mass is not None:
        # From e^-10 times the maximum (white) to the maximum (black).
        logs = np.log(np.maximum(mass / mass.max(), np.exp(-10.0))).reshape(CELLS, CELLS)
        panels.append((-logs / 10 * 255).astype(np.uint8))
    image = np.concatenate([np.pad(panel, 4, constant_values=128) for panel in panels], 1)
    # y points up in the plane and down in a picture.
    picture: NDArray[np.uint8] = np.repeat(image[::-1, :, None], 3, 2)
    return picture
