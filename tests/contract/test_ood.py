"""Out of distribution: what is trained on, what the sets are, the areas by scikit-learn, and the control."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.metrics import average_precision_score, roc_auc_score

from ebbench.contract import DataSpec
from ebbench.data import mnist as digits
from ebbench.data import svhn
from ebbench.data.store import Store
from ebbench.errors import ContractError, UsageError
from ebbench.plugins import loader
from ebbench.record import resultfiles

CPU = torch.device("cpu")
FIVE = ["other", "noise", "constant", "shuffled", "blurred"]


class FakeScoring:
    """What a task sees of the engine: two scores, given as functions of the examples."""

    declared = "energy"

    def __init__(self, energy: Any) -> None:
        self.energy = energy
        self.pictures: dict[str, np.ndarray] = {}

    def scores(self, x: torch.Tensor) -> dict[str, np.ndarray]:
        self.x = x
        values = np.asarray(self.energy(x), np.float64)
        return {"energy": values, "turned": -values}

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.pictures[name] = pixels


def ood(folder: Path, **options: Any) -> Any:
    cls = loader.load("task", "ood").cls
    return cls(cls.Options(**options), "clean", Store(folder))


def mean(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1).mean(1)


@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_the_areas_are_scikit_learn_s_and_those_of_the_declared_score(cifar10: Path, data: str):
    task, scoring = ood(cifar10, data=data), FakeScoring(mean)
    scored = task.score(None, scoring)
    tested = task.tested()
    assert list(tested) == ["test", *FIVE]
    # Of the bytes, not of what the task made of them.
    brightness = {name: images.reshape(1000, -1).mean(1, dtype=np.float64) for name, images in tested.items()}
    labels = np.repeat([0, 1], 1000)
    aurocs = []
    for name in FIVE:
        values = np.concatenate([brightness["test"], brightness[name]])
        # The task's are of float32 energies, in which a few images tie.
        auroc = roc_auc_score(labels, values)
        assert scored.metrics[f"auroc_{name}"] == pytest.approx(auroc, abs=1e-4)
        precision = average_precision_score(labels, values)
        assert scored.metrics[f"average_precision_{name}"] == pytest.approx(precision, abs=1e-3)
        aurocs.append(auroc)
    assert scored.metrics["auroc"] == pytest.approx(np.mean(aurocs), abs=1e-4)
    assert scored.metrics["auroc_least"] == pytest.approx(min(aurocs), abs=1e-4)
    turned = scored.details["scores"]["turned"]["auroc_other"]
    assert turned == pytest.approx(1 - scored.metrics["auroc_other"])
    assert scoring.x.shape == (6000, *task.spec().shape)
    assert float(scoring.x.min()) == -1 and float(scoring.x.max()) == 1
    assert "sets" in scoring.pictures


def test_a_constant_energy_is_chance(cifar10: Path):
    scored = ood(cifar10).score(None, FakeScoring(lambda x: torch.zeros(len(x))))
    names = [name for name in scored.metrics if name.startswith(("auroc", "average"))]
    assert {scored.metrics[name] for name in names} == {0.5}


def test_each_set_is_what_it_says(cifar10: Path):
    for data in ("mnist", "cifar10"):
        tested = ood(cifar10, data=data).tested()
        shape = tested["test"].shape
        assert all(images.shape == shape and images.dtype == np.uint8 for images in tested.values())
        assert tested["constant"].std((2, 3)).max() == 0 and tested["constant"][:, 0, 0, 0].std() > 50
        noise = tested["noise"].astype(float)
        assert noise.mean() == pytest.approx(127.5, abs=0.5) and noise.std() == pytest.approx(73.9, abs=0.5)
        neighbours = np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1]
        assert abs(neighbours) < 0.01
        again = ood(cifar10, data=data).tested()
        assert all((tested[name] == again[name]).all() for name in tested), "the same for every run"
    # MNIST in CIFAR-10's shape: a black rim, three equal channels.
    assert (tested["other"][:, :, :2] == 0).all() and (tested["other"][:, 0] == tested["other"][:, 2]).all()


def test_pixels_are_shuffled_with_their_channels_and_blurs_are_of_the_whole_image(cifar10: Path):
    sets = sys.modules[loader.load("task", "ood").cls.__module__].sets
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    made = sets.shuffled(images, np.random.default_rng(1))
    for before, after in zip(images, made, strict=True):
        colours = [sorted(map(tuple, one.reshape(3, -1).T.tolist())) for one in (before, after)]
        assert colours[0] == colours[1] and (before != after).any()
    # Each has an order of its own: equal images come out different.
    same = sets.shuffled(np.repeat(images[:1], 2, axis=0), np.random.default_rng(1))
    assert (same[0] != same[1]).any()
    # "mirror" is torchvision's border.
    expected = gaussian_filter(images.astype(float), (0, 0, 1.5, 1.5), mode="mirror", radius=(0, 0, 4, 4))
    assert np.abs(sets.blurred(images) - expected).max() <= 0.51


@pytest.mark.medium
def test_the_held_out_class_is_in_no_training_and_no_test_image(mnist: Path, cifar10: Path):
    task = ood(cifar10, held_out=7)
    images, labels = digits.load(Store(mnist), "train")
    data = task.data(CPU)
    assert len(data) == 60_000 - int((labels == 7).sum())
    trained = {
        row.numpy().tobytes() for row in data[torch.arange(len(data))].mul(127.5).add(127.5).round().byte()
    }
    sevens = {image.tobytes() for image in images[labels == 7]}
    assert len(sevens) > 6000 and not trained & sevens
    assert trained == {image.tobytes() for image in images[labels != 7]}
    tested = task.tested()
    test_images, test_labels = digits.load(Store(mnist), "test")
    by_bytes = {image.tobytes(): int(label) for image, label in zip(test_images, test_labels, strict=True)}
    assert 7 not in {by_bytes[image.tobytes()] for image in tested["test"]}
    assert {by_bytes[image.tobytes()] for image in tested["held_out"]} == {7}
    scored = task.score(None, FakeScoring(mean))
    assert "auroc_held_out" in scored.metrics
    plain = ood(cifar10).score(None, FakeScoring(mean))
    assert "auroc_held_out" not in plain.metrics
    assert task.data_key() != ood(cifar10).data_key()
    # Outside the mean.
    five = [scored.metrics[f"auroc_{name}"] for name in FIVE]
    assert scored.metrics["auroc"] == pytest.approx(np.mean(five))


@pytest.mark.medium
def test_cifar10_without_a_class(cifar10: Path):
    assert len(ood(cifar10, data="cifar10", held_out=0).data(CPU)) == 45_000


def test_svhn_is_one_more_set_where_it_is_here(cifar10: Path, monkeypatch: pytest.MonkeyPatch):
    assert "svhn" not in ood(cifar10, data="cifar10").tested()
    street = np.random.default_rng(0).integers(0, 256, (1500, 3, 32, 32), dtype=np.uint8)
    monkeypatch.setattr(svhn, "here", lambda store, split: True)
    monkeypatch.setattr(svhn, "load", lambda store, split: (street, np.zeros(1500, np.uint8)))
    task = ood(cifar10, data="cifar10")
    scored = task.score(None, FakeScoring(mean))
    chosen = {image.tobytes() for image in task.tested()["svhn"]}
    assert len(chosen) == 1000 and chosen <= {image.tobytes() for image in street}
    assert "auroc_svhn" in scored.metrics and svhn.FILES["test"] in task.data_hashes
    assert (
        scored.metrics["auroc"]
        == ood(cifar10, data="cifar10", svhn="none").score(None, FakeScoring(mean)).metrics["auroc"]
    )
    assert "svhn" not in ood(cifar10).tested(), "it is of CIFAR-10's size"


@pytest.mark.parametrize(
    ("options", "said"),
    [({"held_out": 10}, "held_out=10"), ({"held_out": True}, "held_out=True"), ({"svhn": "yes"}, "svhn=yes")],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str):
    cls = loader.load("task", "ood").cls
    with pytest.raises(UsageError, match=said):
        cls(cls.Options(**options), "clean", Store(offline=True))


def complexity(shape: tuple[int, ...]) -> Any:
    cls = loader.load("model", "complexity").cls
    made = cls(DataSpec(name="x", shape=shape, low=-1.0, high=1.0), cls.Config())
    made.device = CPU
    return made


@pytest.mark.parametrize("channels", [1, 3])
def test_complexity_is_the_size_of_a_file(channels: int, tmp_path: Path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, channels, 32, 32), dtype=np.uint8)
    noise[1] = 200
    x = torch.from_numpy(noise).float() / 127.5 - 1
    found = complexity((channels, 32, 32)).energy(x)
    for image, bits in zip(noise, found, strict=True):
        pixels = image[0] if channels == 1 else image.transpose(1, 2, 0)
        path = tmp_path / "image.png"
        Image.fromarray(pixels).save(path, optimize=True)
        assert float(bits) == 8 * path.stat().st_size / 1024
    assert found[1] < 1 < 8 * channels < found[0], "no format packs noise"


def test_deviation_is_taken_from_the_training_images():
    model = complexity((1, 28, 28))
    x = torch.rand(50, 1, 28, 28) * 2 - 1
    model.train(
        type("Data", (), {"device": CPU, "__len__": lambda s: 50, "__getitem__": lambda s, i: x[i]})(), None
    )
    bits = model.energy(x)
    assert torch.allclose(model.deviation(x), (bits - bits.mean()).abs())


def test_complexity_of_what_is_no_image_is_refused():
    with pytest.raises(ContractError, match="no images"):
        complexity((121,))


def test_a_run_from_the_command_line(cli, cifar10: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("EBBENCH_DATA", str(cifar10))
    words = ("run", "--task", "ood", "--budget", "smoke", "--quiet", "--model", "pca")
    said = cli(*words, "--set", "held_out=1")
    assert said.code == 0, said.err
    (path,) = (tmp_path / "results").rglob("*.json")
    made = resultfiles.read(path)
    assert made.score == "energy" and made.metrics["auroc_noise"] > 0.99
    assert cli(*words, "--set", "held_out=12").code == 2
