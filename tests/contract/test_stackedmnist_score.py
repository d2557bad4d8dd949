"""The score of StackedMNIST: real and collapsed samples, limits, copies, both protocols."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from ebbench.contract import Score
from ebbench.data import digits as digits_data
from ebbench.data import mnist as mnist_data
from ebbench.data.store import Store
from ebbench.metrics import coverage
from ebbench.metrics.digits import classifier as clean_net
from ebbench.metrics.digits import second
from ebbench.pictures import sheet
from stacked import CPU, FakeScoring, images_of, make, mnist_task, part_of_task, real, score


@pytest.mark.medium
def test_real_mnist_lands_on_the_floor(mnist: Path) -> None:
    task = mnist_task(mnist, stacks=3)
    made, scoring = score(task, real(task))
    found, details = made.metrics, made.details
    assert set(found) == {metric.name for metric in task.metrics}
    assert scoring.asked["samples"] == details["samples"] == 26_000
    assert found["modes"] == 1000
    assert abs(found["kl"] - found["kl_floor_data"]) < 3 * details["kl_floor_data_deviation"]
    assert abs(found["kl_data"] - found["kl_floor"]) < 3 * 0.0009
    assert found["kl_floor"] == pytest.approx(0.01934, abs=1e-5)
    assert found["kl_floor_data"] == pytest.approx(0.02362, abs=1e-5)
    assert found["quality"] == pytest.approx(0.95, abs=0.02)
    assert sum(details["modes_by_count"]) == 1000 and len(details["modes_by_count"]) == 101
    for channel in details["digit_shares"]:
        assert sum(channel) == pytest.approx(1, abs=1e-4)
        np.testing.assert_allclose(channel, details["digit_shares_of_data"], atol=0.01)
    assert scoring.pictures["samples"].shape == (302, 302, 3)


def test_the_score_counts_what_the_labels_say() -> None:
    """Real digits whose labels are known: the score against a direct count of the labels."""
    task = make(stacks=2)
    images, labels = digits_data.load("train")
    rng = np.random.default_rng(0)
    chosen = rng.integers(0, len(images), (2600, 2))
    x = torch.from_numpy(images[chosen]).float() / 127.5 - 1
    made, _ = score(task, lambda n, number: x[1000 * number : 1000 * number + n])
    _, counts = np.unique(coverage.mode_ids(labels[chosen]), return_counts=True)
    assert made.metrics["modes"] == len(counts) == 100
    # The digits classifier errs on a few of its own training images at most.
    assert made.metrics["kl"] == pytest.approx(coverage.kl_to_uniform(counts, 100), abs=2e-3)
    assert (
        abs(made.metrics["kl"] - made.metrics["kl_floor_data"]) < 3 * made.details["kl_floor_data_deviation"]
    )


@pytest.mark.medium
def test_a_collapsed_sampler_and_noise() -> None:
    task = make(stacks=2)
    one = task.data(CPU)[torch.zeros(1, dtype=torch.int64)]
    made, _ = score(task, lambda n, number: one.expand(n, -1, -1, -1))
    assert made.metrics["modes"] == 1 and made.metrics["kl"] == pytest.approx(math.log(100))
    assert made.details["modes_by_count"] == [99, *[0] * 99, 1]
    generator = torch.Generator().manual_seed(0)
    noisy, _ = score(task, lambda n, number: torch.rand(n, 2, 28, 28, generator=generator) * 2 - 1)
    assert noisy.metrics["quality"] <= 0.01


def beyond(task: Any, made: Score) -> set[str]:
    """The gates and the limits that keep a result from a rank."""
    gates = {metric.name for metric in task.metrics if metric.gate and made.metrics[metric.name] < 1}
    return gates | {limit.metric for limit in task.limits if limit.broken(made.metrics)}


def even(images: Tensor, stacks: int) -> Callable[[int, int], Tensor]:
    """Each combination of ten `images`, one a digit, equally often."""
    digits = [np.arange(26 * 10**stacks) // 26 // 10**k % 10 for k in range(stacks)]
    whole = images[torch.from_numpy(np.stack(digits, 1))]
    return lambda n, number: whole[1000 * number : 1000 * number + n]


def test_ten_training_images_in_every_combination_have_no_rank() -> None:
    task = make(stacks=2)
    images, labels = digits_data.load("train")
    ten = torch.from_numpy(np.stack([images[labels == digit][3] for digit in range(10)])).float() / 127.5 - 1
    made, _ = score(task, even(ten, 2))
    assert made.metrics["modes"] == 100 and made.metrics["kl"] == 0
    assert {"many_images", "share_memorised", "kl"} <= beyond(task, made)


@pytest.mark.medium
def test_images_made_to_please_the_classifier_have_no_rank(mnist: Path) -> None:
    # What a cheat did: noise, optimised through the classifier and its quality measure.
    task = mnist_task(mnist, stacks=2)
    net = clean_net.load_clean("mnist", CPU)
    torch.manual_seed(0)
    wanted = torch.arange(10).repeat(40)
    x = torch.nn.Parameter(0.5 + 0.05 * torch.randn(400, 1, 28, 28))
    optimiser = torch.optim.Adam([x], 0.02)
    for _ in range(120):
        features = net.features(x.clamp(0, 1))
        pulled = ((features - net.centroids[wanted]) @ net.whitening).square().sum(1).mean()
        optimiser.zero_grad()
        pulled.backward()
        optimiser.step()
    images = x.detach().clamp(0, 1)
    digit, good = net.judge(images)
    assert (digit == wanted).float().mean() > 0.99 and good.float().mean() > 0.99
    shown = images[torch.randint(400, (2600, 2))].squeeze(2) * 2 - 1
    made, _ = score(task, lambda n, number: shown[1000 * number : 1000 * number + n])
    assert made.metrics["modes"] == 100 and made.metrics["quality"] > 0.99
    assert {"are_digits", "quality"} <= beyond(task, made) and made.metrics["agreement"] < 0.5


@pytest.mark.medium
def test_honest_samples_break_no_limit(mnist: Path) -> None:
    task = mnist_task(mnist, stacks=2)
    test, _ = mnist_data.load(Store(mnist), "test")
    drawn = np.random.default_rng(0).integers(0, len(test), (2600, 2))
    x = torch.from_numpy(test[drawn]).float() / 127.5 - 1
    made, _ = score(task, lambda n, number: x[1000 * number : 1000 * number + n])
    assert beyond(task, made) == set()
    assert made.metrics["share_memorised"] < 0.03 and made.metrics["agreement"] > 0.95
    # The training images themselves are told, as a part of the samples too.
    pool = real(task)
    copied, _ = score(task, pool)
    assert copied.metrics["share_memorised"] == 1 and "share_memorised" in beyond(task, copied)
    half = lambda n, number: torch.cat([pool(n, number)[: n // 4], x[:n][n // 4 :]])  # noqa: E731
    mixed, _ = score(task, lambda n, number: half(n, number)[torch.randperm(n)])
    assert mixed.metrics["share_memorised"] == pytest.approx(0.25, abs=0.1)


@pytest.mark.medium
def test_density_and_coverage_compare_whole_stacks() -> None:
    task = make(stacks=2)
    pool, net = task.data(CPU), clean_net.load_clean("digits", CPU)
    last = pool[torch.arange(len(pool) - 2600, len(pool))]
    made, _ = score(task, lambda n, number: last[1000 * number : 1000 * number + n])

    def features(x: Tensor) -> np.ndarray:
        with torch.inference_mode():
            channels = [net.features((x[:, [c]] + 1) / 2) for c in range(2)]
        return torch.cat(channels, 1).double().numpy()

    reals, samples = features(pool[torch.arange(10_000)]), features(last)
    reach = NearestNeighbors(n_neighbors=6).fit(reals).kneighbors(reals)[0][:, -1]
    inside = cdist(samples, reals) <= reach
    assert made.metrics["density_digits"] == pytest.approx(inside.sum() / 5 / 2600, abs=2e-3)
    assert made.metrics["coverage_digits"] == pytest.approx(inside.any(0).mean(), abs=2e-3)
    # Each channel alone is as real as before, but the same digit stands in both.
    twice = last[:, :1].expand(-1, 2, -1, -1)
    tied, _ = score(task, lambda n, number: twice[1000 * number : 1000 * number + n])
    assert tied.metrics["quality"] > 0.9
    assert tied.metrics["coverage_digits"] < 0.3 * made.metrics["coverage_digits"]


def test_the_distance_of_a_copy_is_that_of_the_nearest_in_a_hundred() -> None:
    images, _ = digits_data.load("train")
    x = torch.from_numpy(images)[:, None].float() / 255
    nearest = second.Neighbours(images).distances(x, 2)
    brute = torch.cdist(x[:50].flatten(1).double(), x.flatten(1).double()).sort(1).values[:, 1]
    assert torch.allclose(nearest[:50].double(), brute, atol=1e-3)
    assert float(nearest.quantile(0.01)) == pytest.approx(second.COPY["digits"], rel=0.05)


@pytest.mark.slow
def test_the_distance_of_a_copy_on_mnist(mnist: Path) -> None:
    images, _ = mnist_data.load(Store(mnist), "train")
    some = torch.from_numpy(images)[torch.randperm(60_000)[:4000], None].float() / 255
    found = torch.cat([second.Neighbours(images).distances(part, 2) for part in some.split(500)])
    assert float(found.quantile(0.01)) == pytest.approx(second.COPY["mnist"], rel=0.05)


@pytest.mark.parametrize(
    ("stacks", "width"), [(1, 10 * 30 + 2), (2, 10 * 30 + 2), (3, 10 * 30 + 2), (4, 10 * (4 * 28 + 2) + 2)]
)
def test_the_sheet_shows_every_channel(stacks: int, width: int) -> None:
    pixels = np.zeros((100, stacks, 28, 28), dtype=np.uint8)
    for channel in range(stacks):
        pixels[:, channel] = 40 * (channel + 1)
    pixels[17] = 255
    picture = sheet(part_of_task("task").tiles(pixels), 10)
    assert picture.dtype == np.uint8 and picture.shape == (302, width, 3)
    tile = (width - 2) // 10
    shown = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    eighth_of_second_row = picture[32:60, 7 * tile + 2 : 8 * tile]
    if stacks == 1:
        assert shown == {(96, 96, 96), (40, 40, 40), (255, 255, 255)}
    elif stacks == 2:
        assert shown == {(96, 96, 96), (40, 80, 0), (255, 255, 0)}
    elif stacks == 3:
        assert shown == {(96, 96, 96), (40, 80, 120), (255, 255, 255)}
    else:
        assert shown == {(g, g, g) for g in (96, 40, 80, 120, 160, 255)}
    assert (eighth_of_second_row[..., 0] == 255).all()


@pytest.mark.medium
def test_published_dropout_hangs_on_the_images_and_the_seed_alone(mnist: Path) -> None:
    task = mnist_task(mnist, stacks=2, protocol="published")
    draw = real(task)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    whole, first = score(task, draw)
    assert torch.equal(torch.get_rng_state(), before), "the score drew global random numbers"

    class Resumed(FakeScoring):
        """A scoring that has its first chunks behind it and finishes the last one first."""

        def samples(self, n: int, reduce: Any, *, name: str = "samples", chunk: int = 1000) -> Any:
            if name == "samples":
                for number in (2, 1):
                    again = reduce(self.draw(len(first.parts[number]["mode"]), number))
                    np.testing.assert_array_equal(again["mode"], first.parts[number]["mode"])
            return super().samples(n, reduce, name=name, chunk=chunk)

    torch.manual_seed(2)
    assert task.score(None, Resumed(draw)).metrics == whole.metrics
    other, second = score(task, draw, seed=1)
    assert len(first.parts) == 3
    assert any((a["mode"] != b["mode"]).any() for a, b in zip(first.parts, second.parts, strict=True))
    assert other.metrics["quality"] == whole.metrics["quality"]


def test_every_chunk_has_masks_of_its_own() -> None:
    net = part_of_task("classifier").load_published(CPU)
    images, _ = images_of(digits_data.load("train"))
    other = images.clone()
    other[-1] = 0
    with torch.inference_mode():
        first, again, changed = net.digits(images, 0), net.digits(images, 0), net.digits(other, 0)
    assert torch.equal(first, again)
    assert (first[:-1] != changed[:-1]).float().mean() > 0.01


@pytest.mark.medium
def test_published_counts_with_the_authors_classifier(mnist: Path) -> None:
    clean, published = mnist_task(mnist, 2), mnist_task(mnist, 2, "published")
    draw = real(clean)
    (right, quiet), (bent, noisy) = score(clean, draw), score(published, draw)
    changed = np.mean(
        [(a["mode"] != b["mode"]).mean() for a, b in zip(quiet.parts, noisy.parts, strict=True)]
    )
    # Two channels, each read wrongly in a few percent of the cases.
    assert 0.01 < changed < 0.3
    assert right.metrics["quality"] == bent.metrics["quality"]
    assert bent.details["classifier"] != right.details["classifier"]
