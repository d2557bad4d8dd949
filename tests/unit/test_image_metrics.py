"""Image metrics against torch-fidelity and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from ebbench.errors import ContractError
from ebbench.metrics import image


def features(n: int, seed: int, size: int = 12, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=generator)
    return torch.randn(n, size, generator=generator) @ mix + shift


def neighbours(samples: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    cpu = torch.device("cpu")
    return image.neighbours(samples, image.reference(real, cpu), cpu)


def precision_recall(samples: torch.Tensor, real: torch.Tensor) -> tuple[float, float]:
    found = neighbours(samples, real)
    return found["precision"], found["recall"]


def statistics(x: torch.Tensor, batch: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    moments = image.Moments(x.shape[1])
    for part in x.split(batch):
        moments.add(part)
    return moments.result()


@pytest.mark.parametrize("batch", [7, 64, 500])
def test_moments_are_those_of_the_whole_whatever_the_batches(batch: int):
    x = features(500, 0, shift=1000.0)
    mean, covariance = statistics(x, batch)
    assert np.allclose(mean, x.double().mean(0), rtol=1e-12)
    assert np.allclose(covariance, np.cov(x.double().numpy(), rowvar=False), rtol=1e-9)


def test_the_frechet_distance_is_torch_fidelity_s():
    one, other = features(400, 0), features(300, 1, shift=0.5)
    ours = image.frechet_distance(statistics(one), statistics(other))
    theirs = fid_statistics_to_metric(
        *(fid_features_to_statistics(x.double()) for x in (one, other)), verbose=False
    )["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-8)
    assert ours == pytest.approx(image.frechet_distance(statistics(other), statistics(one)), rel=1e-10)


@pytest.mark.slow
def test_the_frechet_distance_at_inception_s_size():
    generator = torch.Generator().manual_seed(0)
    sets = [torch.randn(2500, 2048, generator=generator).relu() * scale for scale in (1.0, 1.1)]
    one, other = (image.moments(x) for x in sets)
    given = [{"mu": mean, "sigma": covariance} for mean, covariance in (one, other)]
    theirs = fid_statistics_to_metric(*given, verbose=False)["frechet_inception_distance"]
    assert image.frechet_distance(one, other) == pytest.approx(theirs, rel=1e-8)


def test_the_frechet_distance_in_closed_form():
    mean, covariance = np.arange(4.0), np.diag([1.0, 4.0, 9.0, 16.0])
    assert image.frechet_distance((mean, covariance), (mean, covariance)) == pytest.approx(0, abs=1e-12)
    # Diagonal covariances: the sum of the squared differences of means and of standard deviations.
    other = (mean + 2, np.diag([4.0, 1.0, 0.0, 25.0]))
    assert image.frechet_distance((mean, covariance), other) == pytest.approx(16 + 1 + 1 + 9 + 1)
    rng = np.random.default_rng(0)
    a, b = (m @ m.T for m in rng.normal(size=(2, 5, 5)))
    zero = np.zeros(5)
    expected = np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert image.frechet_distance((zero, a), (zero, b)) == pytest.approx(expected, rel=1e-8)


def test_fewer_samples_than_features_are_measured_too():
    few, many = features(8, 0), features(500, 0)
    found = image.frechet_distance(statistics(few), statistics(many))
    a, b = statistics(few), statistics(many)
    expected = ((a[0] - b[0]) ** 2).sum() + np.trace(a[1] + b[1] - 2 * sqrtm(a[1] @ b[1] + 0j).real)
    assert found == pytest.approx(expected, rel=1e-4)


@given(n=st.integers(6, 40), k=st.integers(6, 40), size=st.integers(1, 16), seed=st.integers(0, 1000))
def test_no_metric_knows_the_order_and_distances_know_no_side(n: int, k: int, size: int, seed: int):
    one, other = features(n, seed, size), features(k, seed + 1, size, shift=0.5)
    shuffled = one[torch.randperm(n)]
    scale = float(one.square().sum(1).mean() + other.square().sum(1).mean())
    fid = image.frechet_distance(statistics(one), statistics(other))
    # Of singular covariances the distance is a root of what rounding leaves.
    close = pytest.approx(fid, rel=1e-4, abs=1e-5 * scale)
    assert image.frechet_distance(statistics(other), statistics(one)) == close
    assert image.frechet_distance(statistics(shuffled, batch=3), statistics(other)) == close
    assert image.frechet_distance(statistics(one), statistics(shuffled)) == pytest.approx(0, abs=1e-5 * scale)
    found = precision_recall(one, other)
    assert precision_recall(shuffled, other) == pytest.approx(found)
    assert precision_recall(other, one) == pytest.approx(found[::-1])
    score = image.inception_score(one, splits=1)[0]
    assert image.inception_score(shuffled, splits=1)[0] == pytest.approx(score, rel=1e-5)
    assert 1 - 1e-6 <= score <= size + 1e-6


def test_moments_that_are_not_finite_have_no_distance():
    good = statistics(features(100, 0))
    for bad in ((good[0] * np.nan, good[1]), (good[0], good[1] * np.inf)):
        with pytest.raises(ContractError, match="NaN or infinite"):
            image.frechet_distance(good, bad)


def test_the_inception_score_of_known_answers():
    n, classes = 10_000, 10
    certain = torch.full((n, classes), -40.0)
    certain[torch.arange(n), torch.arange(n) % classes] = 40.0
    mean, spread = image.inception_score(certain)
    # Certain and even: the number of classes, a little less where a split is not quite even.
    assert mean == pytest.approx(classes, rel=0.01) and spread < 0.1
    assert image.inception_score(torch.zeros(n, classes))[0] == pytest.approx(1)
    assert image.inception_score(certain, splits=1)[0] == pytest.approx(classes)


@pytest.mark.medium
def test_the_kernel_distance_is_unbiased_about_zero_and_grows():
    same = image.kernel_distance(features(600, 0), features(600, 0)[torch.randperm(600)], size=200)
    shifted = image.kernel_distance(features(600, 0), features(600, 0) + 3.0, size=200)
    assert abs(same) < 0.2 * shifted
    one, other = features(300, 0, size=4), features(300, 1, size=4)
    k = lambda a, b: (a.double() @ b.double().T / 4 + 1) ** 3  # noqa: E731
    n = 300
    within = sum(float(k(x, x).sum() - k(x, x).diagonal().sum()) for x in (one, other)) / (n * (n - 1))
    expected = within - 2 * float(k(one, other).mean())
    assert image.kernel_distance(one, other, size=300) == pytest.approx(expected, rel=1e-6)


def test_precision_and_recall_by_brute_force():
    samples, real = features(60, 0, size=3), features(80, 1, size=3)

    def inside(points: torch.Tensor, centres: torch.Tensor) -> float:
        radii = [
            sorted(math.dist(other, centre) for j, other in enumerate(centres.tolist()) if j != i)[2]
            for i, centre in enumerate(centres.tolist())
        ]
        hits = [
            any(math.dist(point, centre) <= r for centre, r in zip(centres.tolist(), radii, strict=True))
            for point in points.tolist()
        ]
        return sum(hits) / len(points)

    precision, recall = precision_recall(samples, real)
    assert precision == pytest.approx(inside(samples, real)) and recall == pytest.approx(
        inside(real, samples)
    )


def test_density_and_coverage_by_brute_force():
    samples, real = features(60, 0, size=3), features(80, 1, size=3)
    of_real, of_samples = real.tolist(), samples.tolist()
    reach = [sorted(math.dist(one, other) for other in of_real)[5] for one in of_real]
    held = [
        [math.dist(sample, centre) <= r for sample in of_samples]
        for centre, r in zip(of_real, reach, strict=True)
    ]
    found = neighbours(samples, real)
    assert found["density"] == pytest.approx(sum(map(sum, held)) / (5 * 60))
    assert found["coverage"] == pytest.approx(sum(map(any, held)) / 80)


def test_density_and_coverage_are_those_of_prdc():
    """Naeem et al.'s own package."""
    prdc = pytest.importorskip("prdc")
    samples, real = features(500, 0), features(400, 1)
    theirs = prdc.compute_prdc(real.numpy(), samples.numpy(), nearest_k=5)
    found = neighbours(samples, real)
    assert {name: found[name] for name in ("density", "coverage")} == pytest.approx(
        {name: float(theirs[name]) for name in ("density", "coverage")}
    )


def test_an_outlier_adds_to_recall_and_not_to_coverage():
    """What coverage is for: one far sample makes its neighbours' balls huge."""
    samples, real = 0.05 * features(200, 0), features(200, 1)
    outliers = torch.cat([samples, 40 * features(8, 2)])
    before, after = neighbours(samples, real), neighbours(outliers, real)
    assert after["recall"] > before["recall"] + 0.5
    assert after["coverage"] < before["coverage"] + 0.05
