"""The StackedMNIST task: its data, its classifiers, its score, and what it does without MNIST.

Tests that need MNIST itself take the `mnist` fixture and are skipped by name where it is not at hand;
the rest run on scikit-learn's digits.
"""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from ebbench.contract import DataSpec, Published, Score, Task
from ebbench.data import digits as digits_data
from ebbench.data import mnist as mnist_data
from ebbench.data.store import Store
from ebbench.errors import DataError, DataMissing, UsageError
from ebbench.metrics import coverage
from ebbench.metrics.digits import classifier as clean_net
from ebbench.metrics.digits import second
from ebbench.pictures import sheet
from ebbench.plugins import loader

CPU = torch.device("cpu")


class FakeScoring:
    """What a task sees of the engine: draws from `draw(count, chunk's number)`, keeps pictures.

    With `most` at most that many samples are drawn of those asked for, for sizes out of reach here.
    """

    def __init__(self, draw: Callable[[int, int], Tensor], seed: int = 0, most: int | None = None) -> None:
        self.seed, self.device, self.draw, self.most = seed, CPU, draw, most
        self.pictures: dict[str, np.ndarray] = {}
        self.asked: dict[str, int] = {}
        self.parts: list[dict[str, np.ndarray]] = []

    def samples(
        self, n: int, reduce: Any, *, name: str = "samples", chunk: int = 1000
    ) -> dict[str, np.ndarray]:
        self.asked[name] = n
        n = min(n, self.most or n)
        parts = [
            reduce(self.draw(min(chunk, n - begin), number))
            for number, begin in enumerate(range(0, n, chunk))
        ]
        for begin, part in zip(range(0, n, chunk), parts, strict=True):
            # The features of some samples only.
            assert {len(part[key]) for key in part.keys() - {"features"}} == {min(chunk, n - begin)}
        if name == "samples":
            self.parts = parts
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def picture(self, name: str, pixels: np.ndarray) -> None:
        self.pictures[name] = pixels


def task_class() -> Any:
    return loader.load("task", "stackedmnist").cls


def part_of_task(name: str) -> ModuleType:
    """A module of the task's folder: "task" or "classifier"."""
    return sys.modules[task_class().__module__.rsplit(".", 1)[0] + "." + name]


def make(store: Store | None = None, protocol: str = "clean", **options: Any) -> Any:
    cls = task_class()
    if store is None:
        options.setdefault("source", "digits")
    return cls(cls.Options(**options), protocol, store or Store(offline=True))


@cache
def mnist_task(folder: Path, stacks: int = 2, protocol: str = "clean") -> Any:
    return make(Store(folder), protocol, stacks=stacks)


def real(task: Any, seed: int = 0) -> Callable[[int, int], Tensor]:
    """Real stacks drawn anew, each chunk from its own seed, as the engine does."""
    data = task.data(CPU)
    return lambda n, number: data.fresh(n, torch.Generator().manual_seed(1000 * seed + number))


def score(task: Any, draw: Callable[[int, int], Tensor], **options: Any) -> tuple[Score, FakeScoring]:
    scoring = FakeScoring(draw, **options)
    return task.score(None, scoring), scoring


# --- the declaration


def test_what_the_task_declares() -> None:
    cls = task_class()
    assert issubclass(cls, Task) and cls.version == 4 and cls.needs == "sample"
    assert list(cls.protocols) == ["clean", "published"]
    assert [metric.name for metric in cls.metrics if metric.primary] == ["modes", "kl"]
    assert {metric.name for metric in cls.metrics if metric.better == "neither"} == {
        "kl_floor",
        "kl_floor_data",
        "kl_least",
    }
    card = loader.load("task", "stackedmnist").card
    assert (
        card.name == "stackedmnist" and card.title and card.summary and card.paper and card.url and card.year
    )
    readme = (loader.load("task", "stackedmnist").folder / "README.md").read_text()
    assert all(f"`{metric.name}`" in readme for metric in cls.metrics)


def test_the_published_rows() -> None:
    rows: tuple[Published, ...] = task_class().published
    assert len({(row.label, row.options["stacks"]) for row in rows}) == len(rows) == 25
    known = {metric.name for metric in task_class().metrics}
    for row in rows:
        assert set(row.metrics) <= known and row.source and row.options["stacks"] in (3, 4)
        assert row.metrics.get("modes", (0, 0))[0] <= 10 ** row.options["stacks"]

    def ours(model: str, stacks: int) -> list[dict[str, Any]]:
        return [dict(r.metrics) for r in rows if r.model == model and r.options["stacks"] == stacks]

    assert ours("meg", 3) == [{"modes": (1000.0, None), "kl": (0.0313, None)}]
    assert ours("meg", 4) == [{"modes": (10000.0, None), "kl": (0.0480, None)}]
    assert ours("wgan-gp:meg-authors", 3) == [{"modes": (959.0, None), "kl": (0.7276, None)}]
    assert ours("wgan-gp:meg-authors", 4) == [{"modes": (9538.0, None), "kl": (0.9144, None)}]
    assert {row.confidence for row in rows if "arXiv" in row.label} == {"recalled"}
    assert {row.confidence for row in rows if row.model} == {"verbatim"}


@pytest.mark.parametrize("stacks", [0, -1, 16, True])
def test_stacks_out_of_range(stacks: int) -> None:
    with pytest.raises(UsageError, match="stacks="):
        make(stacks=stacks)


# --- the data


def splitmix(index: int, channel: int, stacks: int) -> int:
    """The documented hash in Python's whole numbers."""
    mask = 2**64 - 1
    x = ((index * stacks + channel + 1) * 0x9E3779B97F4A7C15 + 111) & mask
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & mask
    return (x ^ x >> 31) & (2**63 - 1)


@pytest.mark.parametrize("stacks", [1, 3, 4, 6, 15])
def test_the_pool_is_the_hash_of_its_indices(stacks: int) -> None:
    task = make(stacks=stacks)
    data = task.data(CPU)
    assert len(data) == 128 * 10**stacks == task.data_key()["pool"]
    numbers = [0, 1, 77, len(data) // 3, len(data) - 1]
    index = torch.tensor(numbers)
    images, _ = digits_data.load("train")
    expected = np.stack(
        [[images[splitmix(i, c, stacks) % len(images)] for c in range(stacks)] for i in numbers]
    )
    found = data[index]
    assert found.dtype == torch.float32 and found.shape == (5, *task.spec().shape)
    np.testing.assert_allclose(found.numpy(), expected / 127.5 - 1, atol=1e-6)
    torch.testing.assert_close(data[index], found, rtol=0, atol=0)


def test_the_table_of_a_small_pool_holds_the_same_tuples() -> None:
    data = make(stacks=2).data(CPU)
    index = torch.arange(len(data))
    pool = data.hashed_tuples(index)
    assert torch.equal(data._table.long(), pool)
    # Every image, in every channel, about as often as chance has it.
    for channel in pool.T:
        counts = torch.bincount(channel, minlength=1437).double()
        expected = len(data) / 1437
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert abs(chi_square - 1436) < 4 * math.sqrt(2 * 1436)
    joint = coverage.mode_ids((pool % 10).numpy())
    counts = np.bincount(joint, minlength=100)
    assert np.abs(counts - 128).max() < 6 * math.sqrt(128)


def test_values_fill_the_range_and_no_more() -> None:
    data = make(stacks=1).data(CPU)
    x = data[torch.arange(200)]
    assert x.min().item() == -1.0 and x.max().item() == 1.0


def test_fresh_draws_repeat_with_the_generator_and_are_not_the_pool() -> None:
    data = make(stacks=2).data(CPU)
    first = data.fresh(50, torch.Generator().manual_seed(1))
    assert first.shape == (50, 2, 28, 28) and first.dtype == torch.float32
    assert torch.equal(first, data.fresh(50, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, data.fresh(50, torch.Generator().manual_seed(2)))
    assert not torch.equal(first, data[torch.arange(50)])


def test_both_protocols_share_the_training_data(mnist: Path) -> None:
    clean, published = mnist_task(mnist), mnist_task(mnist, protocol="published")
    assert clean.data_key() == published.data_key() and clean.data_hashes == published.data_hashes
    assert set(clean.data_hashes) == set(mnist_data.FILES["train"])
    assert clean.data_key() != make(stacks=2).data_key()
    assert clean.spec() == DataSpec(name="stackedmnist", shape=(2, 28, 28), low=-1.0, high=1.0)


def test_six_stacks_need_little_memory() -> None:
    """128 million tuples; in a process of its own, since a process's peak never falls."""
    code = """
import resource, sys, torch
sys.path.insert(0, sys.argv[1])
import test_stackedmnist as t
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
t.score(t.make(stacks=1), t.real(t.make(stacks=1)))
before = peak()
task = t.make(stacks=6)
data = task.data(t.CPU)
for begin in range(0, len(data), len(data) // 50):
    data[torch.arange(begin, min(begin + 256, len(data)))]
made, scoring = t.score(task, t.real(task), most=6000)
print(len(data), scoring.asked["samples"], int(made.metrics["modes"]), made.metrics["kl"], peak() - before)
"""
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pool, asked, modes, kl, grown = done.stdout.split()
    assert (int(pool), int(asked)) == (128_000_000, 26_000_000)
    assert 5940 < int(modes) <= 6000
    assert float(kl) == pytest.approx(math.log(10**6 / 6000), abs=0.05)
    assert int(grown) < 300, f"{grown} MiB"


# --- the classifiers


def images_of(split: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(split[0])[:, None] / 255.0, torch.from_numpy(split[1]).long()


def test_the_training_command_writes_weights_that_load(tmp_path: Path) -> None:
    script = part_of_task("classifier").WEIGHTS.parent / "train_classifier.py"
    command = [sys.executable, str(script), "digits", "--epochs", "2", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    net = clean_net.ModeClassifier()
    net.load_state_dict(load_file(tmp_path / "digits.safetensors"))
    known = json.loads((tmp_path / "digits.json").read_text())
    assert known["sha256"] == hashlib.sha256((tmp_path / "digits.safetensors").read_bytes()).hexdigest()
    assert known["command"].endswith("digits --seed 0 --epochs 2")
    assert known["quality"]["share of real test images"] == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("name", ["mnist", "published", "digits"])
def test_the_sidecar_belongs_to_the_weights(name: str) -> None:
    folder = part_of_task("classifier").WEIGHTS if name == "published" else clean_net.WEIGHTS
    path = folder / f"{name}.safetensors"
    known = clean_net.record(name, folder)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == known["sha256"]
    assert path.stat().st_size < 2e6
    assert f"train_classifier.py {name} --seed {known['seed']}" in known["command"]
    assert known["test_accuracy"] > 0.97
    if name == "digits":
        assert known["data_sha256"] == digits_data.hashes()
    else:
        assert known["data_sha256"] == Store(offline=True).hashes("mnist")


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_net, "WEIGHTS", tmp_path)
    for content in (None, b"other weights"):
        if content is not None:
            (tmp_path / "digits.safetensors").write_bytes(content)
        with pytest.raises(DataError, match="not those that tasks score by"):
            clean_net.load_clean("digits", CPU)


def test_the_clean_classifier_on_mnists_test_set(mnist: Path) -> None:
    images, labels = images_of(mnist_data.load(Store(mnist), "test"))
    net = clean_net.load_clean("mnist", CPU)
    with torch.inference_mode():
        digit, good = net.judge(images)
    accuracy = float((digit == labels).float().mean())
    assert accuracy >= 0.994
    assert accuracy == pytest.approx(clean_net.record("mnist")["test_accuracy"], abs=2e-4)
    assert float(good.float().mean()) == pytest.approx(0.95, abs=0.002)


def spoiled(images: Tensor) -> dict[str, Tensor]:
    """Test images, hurt in ways that the training did not use."""
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(images.shape, generator=generator)
    blocks = images.reshape(-1, 14, 2, 14, 2).transpose(2, 3).reshape(-1, 14, 14, 4)
    order = torch.rand(blocks.shape, generator=generator).argsort(-1)
    shuffled = blocks.gather(-1, order).reshape(-1, 14, 14, 2, 2).transpose(2, 3)
    smeared = torch.nn.functional.conv2d(images, torch.eye(5)[None, None] / 5, padding=2)
    return {
        "impulses": torch.where(chance < 0.05, 1.0, torch.where(chance < 0.15, 0.0, images)),
        "missing pixels": images * (chance > 0.3),
        "pixels shuffled in blocks of four": shuffled.reshape(-1, 1, 28, 28),
        "grains": torch.poisson(images * 3, generator=generator).div(3).clamp(0, 1),
        "thin strokes": torch.nn.functional.pad(-torch.nn.functional.max_pool2d(-images, 2, 1), (0, 1, 0, 1)),
        "motion": smeared,
    }


def test_the_clean_classifier_names_rough_digits_without_a_favourite(mnist: Path) -> None:
    """Half-trained generators give rough digits. A first classifier, trained on clean ones to 99.5 %, called
    51 % of the images under "impulses" a three, and the KL measured that leaning, not the generator."""
    images, labels = images_of(mnist_data.load(Store(mnist), "test"))
    net = clean_net.load_clean("mnist", CPU)
    for name, rough in spoiled(images).items():
        with torch.inference_mode():
            digit, _ = net.judge(rough)
        shares = torch.bincount(digit, minlength=10) / len(digit)
        assert float((digit == labels).float().mean()) > 0.9, name
        assert float(shares.min()) > 0.06 and float(shares.max()) < 0.16, (name, shares)


def test_the_published_classifier_on_mnists_test_set(mnist: Path) -> None:
    classifier = part_of_task("classifier")
    images, labels = images_of(mnist_data.load(Store(mnist), "test"))
    net = classifier.load_published(CPU)
    with torch.inference_mode():
        quiet = float((net(images).argmax(1) == labels).float().mean())
        noisy = float((net.digits(images, seed=0) == labels).float().mean())
    assert quiet == pytest.approx(
        clean_net.record("published", classifier.WEIGHTS)["test_accuracy"], abs=2e-4
    )
    assert 0.85 < noisy < quiet - 0.005


def test_the_digits_classifier_on_its_test_set() -> None:
    images, labels = images_of(digits_data.load("test"))
    net = clean_net.load_clean("digits", CPU)
    with torch.inference_mode():
        digit, good = net.judge(images)
    assert float((digit == labels).float().mean()) >= 0.97
    assert float(good.float().mean()) == pytest.approx(0.95, abs=0.01)


@torch.no_grad()
def fakes(n: int = 1000) -> dict[str, Tensor]:
    """Images in [0, 1] that are no digits."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def blobs(size: int) -> Tensor:
        smooth = torch.nn.functional.interpolate(noise(n, 1, size, size), size=28, mode="bicubic")
        return ((smooth - 0.8) * 3).clamp(0, 1)

    return {
        "uniform": torch.rand(n, 1, 28, 28, generator=generator),
        "gaussian": (0.13 + 0.31 * noise(n, 1, 28, 28)).clamp(0, 1),
        "sparse": (torch.rand(n, 1, 28, 28, generator=generator) < 0.19).float(),
        "constant": torch.linspace(0, 1, n).view(-1, 1, 1, 1).expand(n, 1, 28, 28),
        "large blobs": blobs(4),
        "blobs": blobs(6),
        "small blobs": blobs(8),
    }


@pytest.mark.parametrize("source", ["mnist", "digits"])
def test_noise_cannot_fake_quality(source: str) -> None:
    net = clean_net.load_clean(source, CPU)
    with torch.inference_mode():
        shares = {name: float(net.judge(x)[1].float().mean()) for name, x in fakes().items()}
    assert len(shares) == 7
    assert all(share <= 0.01 for share in shares.values()), shares


def test_calibration_reaches_the_share_asked_for() -> None:
    """On a net that was not trained at all: the thresholds come from the held-out images."""
    torch.manual_seed(0)
    net = clean_net.ModeClassifier().eval()
    (train, labels), (test, _) = images_of(digits_data.load("train")), images_of(digits_data.load("test"))
    assert bool(net.judge(test)[1].all())
    net.calibrate(train, labels, test, share=0.9)
    assert float(net.judge(test)[1].float().mean()) == pytest.approx(0.9, abs=0.01)


def test_fusing_changes_speed_alone() -> None:
    torch.manual_seed(0)
    net = clean_net.ModeClassifier()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    net.eval()
    x = torch.rand(20, 1, 28, 28)
    with torch.inference_mode():
        before = net(x)
        net.fuse()
        torch.testing.assert_close(net(x), before, rtol=1e-4, atol=1e-5)


# --- the score


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


# --- the published protocol


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


# --- where the digits come from


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither MNIST nor a network."""
    monkeypatch.delenv("EBBENCH_DATA", raising=False)
    monkeypatch.setenv("EBBENCH_OFFLINE", "1")


def test_without_mnist_the_digits_stand_in_and_one_line_says_so(
    nothing: None, capsys: pytest.CaptureFixture[str]
) -> None:
    task = make(Store(), stacks=1)
    said = capsys.readouterr().err
    assert task.source == "digits" and task.data_hashes == digits_data.hashes()
    assert said.count("\n") == 1
    assert said.startswith("MNIST is not here and could not be downloaded: running on scikit-learn's")
    assert "source=digits" in said
    made, scoring = score(task, real(task))
    assert made.metrics["modes"] == 10 and len(scoring.pictures) == 1
    make(stacks=1, source="digits")
    assert capsys.readouterr().err == ""


def test_published_is_about_mnist(nothing: None) -> None:
    with pytest.raises(UsageError, match="published"):
        make(protocol="published")
    with pytest.raises(DataMissing):
        make(Store(), "published")


def test_mnist_demanded_or_expected_in_a_folder_is_an_error(nothing: None, tmp_path: Path) -> None:
    with pytest.raises(DataMissing):
        make(Store(), source="mnist")
    for source in ("auto", "mnist"):
        with pytest.raises(DataError) as error:
            make(Store(tmp_path), source=source)
        assert "train-images" in str(error.value) and str(tmp_path) in str(error.value)


def test_a_damaged_mnist_is_an_error_and_no_reason_for_the_digits(
    nothing: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"cut short")
    monkeypatch.setenv("EBBENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz is cut short or altered"):
        make(Store(), source="auto")


def test_auto_takes_mnist_where_it_is(mnist: Path) -> None:
    task = mnist_task(mnist)
    assert task.source == "mnist"
    assert len(task.data(CPU).images) == 60_000
