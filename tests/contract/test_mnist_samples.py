"""Samples of MNIST: EBGAN's score in closed form; what is made of real images, noise and few images."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import Tensor

from ebbench.contract import Limit, Score
from ebbench.data import mnist as mnist_data
from ebbench.data.store import Store
from ebbench.metrics.digits import second
from ebbench.plugins import loader

CPU = torch.device("cpu")


def module(name: str) -> ModuleType:
    cls = loader.load("task", "mnist").cls
    return importlib.import_module(f".{name}", cls.__module__.rpartition(".")[0])


# --- the score


def test_one_hot_predictions_have_the_score_of_the_closed_form():
    """Ten classes as often, each prediction c on its class and (1 - c)/9 elsewhere: KL(1/10 || p) by hand."""
    sure = 0.99
    rest = (1 - sure) / 9
    logits = torch.full((1000, 10), math.log(rest))
    logits[torch.arange(1000), torch.arange(1000) % 10] = math.log(sure)
    divergence = 0.1 * math.log(0.1 / sure) + 0.9 * math.log(0.1 / rest)
    inception = module("inception")
    assert inception.modified_score(logits) == pytest.approx(divergence**2, rel=1e-5)
    assert inception.modified_score(logits, power=1) == pytest.approx(divergence, rel=1e-5)


@pytest.mark.parametrize("row", [torch.zeros(10), torch.randn(10), 50 * torch.eye(10)[3]])
def test_equal_predictions_have_no_score(row: Tensor):
    assert module("inception").modified_score(row.expand(500, 10)) == pytest.approx(0, abs=1e-9)


def test_the_square_is_inside_the_mean_and_the_pair_is_that_of_the_paper():
    logits = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)) * 3
    p = logits.double().softmax(1).numpy()
    by_scipy = np.array([entropy(p.mean(0), one) for one in p])
    assert module("inception").divergences(logits).numpy() == pytest.approx(by_scipy, rel=1e-6)
    assert module("inception").modified_score(logits) == pytest.approx((by_scipy**2).mean(), rel=1e-6)


def test_certain_predictions_have_a_finite_score():
    logits = 1000 * torch.eye(10).repeat(10, 1)
    assert module("inception").modified_score(logits, power=1) == pytest.approx(900 - math.log(10), rel=1e-6)


# --- the task


class FakeScoring:
    """What the task sees of the engine."""

    def __init__(self, draw: Callable[[int], Tensor]) -> None:
        self.device, self.draw = CPU, draw
        self.pictures: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self.note = self.notes.append

    def samples(self, n: int, reduce: Any, *, name: str = "samples", chunk: int = 1000) -> Any:
        parts = [reduce(self.draw(min(chunk, n - begin))) for begin in range(0, n, chunk)]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.pictures[name] = pixels


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the samples and of the reference."""
    for name, value in {"SAMPLES": 2000, "EVERY": 30, "CHECKED": 200}.items():
        monkeypatch.setattr(module("task"), name, value)


@cache
def task(folder: Path) -> Any:
    cls = loader.load("task", "mnist").cls
    return cls(cls.Options(), "clean", Store(folder))


def score(of: Any, draw: Callable[[int], Tensor]) -> tuple[Score, FakeScoring]:
    scoring = FakeScoring(draw)
    return of.score(None, scoring), scoring


def in_order(images: Tensor) -> Callable[[int], Tensor]:
    """The images one after the other, in the range of the task."""
    place = 0

    def draw(n: int) -> Tensor:
        nonlocal place
        index = (place + torch.arange(n)) % len(images)
        place += n
        return images[index].float() / 127.5 - 1

    return draw


def broken(limits: tuple[Limit, ...], metrics: Any) -> list[str]:
    return [limit.metric for limit in limits if limit.broken(metrics)]


def test_real_test_images_score_as_real_images_do(mnist: Path):
    of = task(mnist)
    found, scoring = score(of, in_order(of._test))
    m = found.metrics
    assert {metric.name for metric in of.metrics} == set(m)
    assert m["classes"] == 10 and m["are_digits"] == m["many_images"] == 1
    # The first 2,000 test images are the harder ones.
    assert m["quality"] == pytest.approx(0.95, abs=0.03)
    assert m["agreement"] > 0.9 and m["share_memorised"] < 0.05
    assert m["nearest_ratio"] == pytest.approx(1, abs=0.1)
    assert m["fid_digits"] < 5 and m["is_digits"] > 8
    assert m["kl_classes"] < 0.01 and m["precision_digits"] > 0.7 and m["recall_digits"] > 0.7
    assert broken(of.limits, m) == []
    assert scoring.pictures["samples"].shape == (302, 302, 3)


def test_the_reference_is_at_no_distance_from_itself_and_is_memorised(mnist: Path):
    of = task(mnist)
    found, scoring = score(of, in_order(of._train[::30]))
    assert found.metrics["fid_digits"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["precision_digits"] == found.metrics["recall_digits"] == 1
    assert found.metrics["share_memorised"] == 1 and broken(of.limits, found.metrics) == ["share_memorised"]
    assert any("2,000 real images" in note for note in scoring.notes)


def test_noise_has_no_digits_and_one_image_a_digit_is_no_sampler(mnist: Path):
    of = task(mnist)
    noise, _ = score(of, lambda n: torch.rand(n, 1, 28, 28) * 2 - 1)
    assert noise.metrics["are_digits"] == 0 and noise.metrics["classes"] == 0
    labels = mnist_data.load(Store(mnist), "test")[1]
    ten = of._test[[int(np.flatnonzero(labels == digit)[0]) for digit in range(10)]]
    few, _ = score(of, in_order(ten))
    real, _ = score(of, in_order(of._test))
    # EBGAN's score sees variety of digits alone, and none within a digit: hence the gate.
    assert few.metrics["i_prime"] > 0.5 * real.metrics["i_prime"]
    assert few.metrics["many_images"] == 0 and few.metrics["recall_digits"] < 0.1


@pytest.mark.slow
def test_the_distance_of_test_images_is_the_pinned_one(mnist: Path):
    of = task(mnist)
    some = of._test[::10]
    found = torch.cat([of._neighbours.distances(part.float() / 255) for part in some.split(100)])
    assert float(found.mean()) == pytest.approx(module("task").NEAREST_OF_TEST, rel=0.03)
    assert second.COPY["mnist"] < module("task").NEAREST_OF_TEST


def test_the_task_trains_on_every_training_image_and_hands_out_test_images(mnist: Path):
    data = task(mnist).data(CPU)
    assert len(data) == 60_000 and data.spec.shape == (1, 28, 28)
    fresh = data.fresh(5, torch.Generator().manual_seed(0))
    known = {image.numpy().tobytes() for image in task(mnist)._test}
    assert all(((x + 1) * 127.5).round().byte().numpy().tobytes() in known for x in fresh)
