"""Likelihoods of digits: what is trained on, what is scored, what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebbench.contract import BOUND, DataSpec
from ebbench.data import cifar10 as archive
from ebbench.data import svhn
from ebbench.data.store import Store
from ebbench.plugins import loader

CPU = torch.device("cpu")


class Bright:
    """A bound that is the mean of the pixels; keeps the images that were asked for."""

    def __init__(self) -> None:
        self.asked: list[torch.Tensor] = []
        self.pictures: dict[str, np.ndarray] = {}

    def scores(self, x: torch.Tensor, only) -> dict[str, np.ndarray]:
        assert only == (BOUND,)
        self.asked.append(x)
        return {BOUND: -x.flatten(1).mean(1).double().numpy()}

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.pictures[name] = pixels


def task(folder: Path, **options: Any) -> Any:
    cls = loader.load("task", "mnist-likelihood").cls
    return cls(cls.Options(**options), "clean", Store(folder))


@pytest.mark.medium
def test_one_digit_is_trained_on_and_every_kind_is_scored(cifar10: Path):
    chosen = task(cifar10)
    assert chosen.options.dissimilar == "cifar10-jpeg75"
    data = chosen.data(CPU)
    assert len(data) == 6742, "the ones of MNIST's training set"
    scoring = Bright()
    score = chosen.score(None, scoring)
    own, others, dissimilar = scoring.asked
    assert own.shape == others.shape == dissimilar.shape == (500, 1, 28, 28)
    assert min(x.min() for x in scoring.asked) >= -1 and max(x.max() for x in scoring.asked) <= 1
    assert score.metrics["bound"] == pytest.approx(own.mean().item(), abs=1e-6)
    # Ones have the least ink, photographs are bright: this bound tells them apart the wrong way round.
    pairs = own.flatten(1).mean(1)[:, None] > dissimilar.flatten(1).mean(1)
    assert score.metrics["auroc_dissimilar"] == pytest.approx(pairs.double().mean().item(), abs=1e-6)
    assert score.metrics["auroc_others"] < 0.1
    assert scoring.pictures["histograms"].shape[2] == 3
    again = Bright()
    task(cifar10).score(None, again)
    assert all(torch.equal(a, b) for a, b in zip(scoring.asked, again.asked, strict=True))


def test_without_the_other_kind_its_metrics_are_left_out(cifar10: Path):
    score = task(cifar10, dissimilar="none", digit=7).score(None, Bright())
    assert "auroc_dissimilar" not in score.metrics and "auroc_others" in score.metrics


def test_no_such_digit(cli):
    end = cli("run", "--task", "mnist-likelihood", "--model", "vae", "--set", "digit=10")
    assert end.code == 2 and "0 to 9" in end.err


def test_the_jpeg_copies_of_cifar10(cifar10: Path):
    images, classes = archive.load(Store(cifar10), "test", archive.JPEG)
    assert images.shape == (10_000, 3, 32, 32) and np.bincount(classes).tolist() == [1000] * 10
    # The first images of the test set are a cat, two ships, an aeroplane and two frogs.
    assert classes[:6].tolist() == [3, 8, 8, 0, 6, 6]
    assert images.mean((0, 2, 3)) == pytest.approx([126, 124, 115], abs=2)


def test_house_numbers(cifar10: Path, monkeypatch: pytest.MonkeyPatch):
    """SVHN's digits, by a reader that gives each image its digit as its grey."""
    digits = np.arange(6000, dtype=np.uint16).astype(np.uint8) % 10
    images = np.broadcast_to((digits * 20)[:, None, None, None], (6000, 3, 32, 32))
    asked = []

    def load(store: Store, split: str) -> tuple[np.ndarray, np.ndarray]:
        asked.append(split)
        return images.copy(), digits

    monkeypatch.setattr(svhn, "load", load)
    chosen = task(cifar10, data="svhn", digit=3)
    assert chosen.spec() == DataSpec(name="mnist-likelihood", shape=(3, 32, 32), low=-1.0, high=1.0)
    assert chosen.source == "svhn" and set(svhn.FILES.values()) <= set(chosen.data_hashes)
    data = chosen.data(CPU)
    trained = data[torch.arange(len(data))]
    assert asked == ["train"] and len(data) == int((digits == 3).sum())
    assert torch.allclose(trained, torch.tensor(60 / 127.5 - 1))
    scoring = Bright()
    score = chosen.score(None, scoring)
    own, others, dissimilar = scoring.asked
    assert asked == ["train", "test"]
    assert own.shape == others.shape == dissimilar.shape == (500, 3, 32, 32)
    assert torch.allclose(own, torch.tensor(60 / 127.5 - 1))
    assert not torch.isclose(others, torch.tensor(60 / 127.5 - 1)).any()
    assert set(score.metrics) >= {"auroc_others", "auroc_dissimilar"}


def test_the_nets_take_house_numbers():
    for name in ("vae", "entropic-gan"):
        cls = loader.load("model", name).cls
        small = {"draws": 2, "width": 4, "z_dim": 3, "dual": "semi"} if name == "entropic-gan" else {}
        model = cls(DataSpec(name="x", shape=(3, 32, 32), low=-1.0, high=1.0), cls.Config(**small))
        model.device = CPU
        assert model.log_likelihood_bound(torch.zeros(2, 3, 32, 32)).shape == (2,)
