"""The detectors that ADBench ranks high: against pyod, by brute force, and by what their papers promise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebbench.contract import DataSpec
from ebbench.data.pool import Given, Pool
from ebbench.errors import UsageError
from ebbench.nn.tails import Tails
from ebbench.plugins import loader
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun

CPU = torch.device("cpu")


def rows(n: int, columns: int = 4, seed: int = 0) -> np.ndarray:
    """Skewed columns, one of them discrete; of symmetric ones pyod lets a row turn the sign."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(n, columns))
    made[:, 0] = np.exp(made[:, 0])
    made[:, 1] = random.integers(0, 4, n) ** 2
    made[:, 2:] = -np.exp(made[:, 2:])
    return made.astype(np.float32).astype(np.float64)


def fitted(name: str, x: np.ndarray, folder: Path, **config: Any) -> Any:
    torch.manual_seed(0)
    cls = loader.load("model", name).cls
    spec = DataSpec(name="x", shape=x.shape[1:])
    model = cls(spec, cls.Config(**config))
    model.device = CPU
    data = Given(Pool(torch.from_numpy(x.astype(np.float32)), None, spec, CPU))
    run = TrainingRun(model, folder, seed=0, device=CPU, stop=StopRequest(), reporter=Reporter())
    model.train(data, run)
    return model


def energy(model: Any, x: np.ndarray) -> np.ndarray:
    return model.energy(torch.from_numpy(x.astype(np.float32))).numpy()


@pytest.mark.parametrize("name", ["ecod", "copod"])
def test_a_row_has_the_score_that_pyod_gives_it_alone(name: str, tmp_path: Path):
    module = pytest.importorskip(f"pyod.models.{name}")
    x, asked = rows(200), rows(20, seed=1) * 2
    reference = getattr(module, name.upper())().fit(x)
    expected = [reference.decision_function(row[None])[0] for row in asked]
    assert np.allclose(energy(fitted(name, x, tmp_path), asked), expected)


def test_the_tails_are_counted(tmp_path: Path):
    x = np.array([[0.0, 5.0], [1.0, 5.0], [1.0, 5.0], [7.0, 5.0]])
    tails = Tails(x)
    assert tails.skew.tolist() == [1.0, 0.0], "the first column leans to the right, the second is constant"
    left, right, skewed = tails.surprise(np.array([[1.0, 5.0], [9.0, 4.0]]))
    # Of five values with the one in question, that one counted: four are at most 1, three at least.
    assert np.allclose(np.exp(-left), [[4 / 5, 1.0], [1.0, 1 / 5]])
    assert np.allclose(np.exp(-right), [[4 / 5, 1.0], [1 / 5, 1.0]])
    assert np.allclose(
        skewed, [[right[0, 0], left[0, 1] + right[0, 1]], [right[1, 0], left[1, 1] + right[1, 1]]]
    )


@pytest.mark.medium
def test_hbos_is_pyod_s(tmp_path: Path):
    module = pytest.importorskip("pyod.models.hbos")
    x, asked = rows(200), rows(20, seed=1) * 2
    expected = module.HBOS().fit(x).decision_function(asked)
    assert np.allclose(energy(fitted("hbos", x, tmp_path), asked), expected)


def test_without_pyod_hbos_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pyod"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(UsageError, match="needs the package pyod") as error:
        fitted("hbos", rows(20), tmp_path)
    assert error.value.fix == "pip install 'ebbench[pyod]'"


def test_knn_s_energy_is_the_fifth_smallest_distance(tmp_path: Path):
    x, asked = rows(60), rows(10, seed=1)
    distances = np.sort(np.linalg.norm(asked[:, None] - x[None], axis=2), axis=1)
    assert np.allclose(energy(fitted("knn", x, tmp_path), asked), distances[:, 4], atol=1e-5)
    assert np.allclose(energy(fitted("knn", x[:3], tmp_path), asked).shape, (10,)), "three rows have no fifth"


def test_lof_s_energy_is_the_paper_s_ratio(tmp_path: Path):
    """Definitions 5 to 7 of Breunig et al., written out; no two distances are equal here."""
    k, random = 5, np.random.default_rng(0)
    x, asked = random.normal(size=(60, 3)), random.normal(size=(10, 3))
    x, asked = (part.astype(np.float32).astype(np.float64) for part in (x, asked))

    def nearest(point: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        distances = np.linalg.norm(others - point, axis=1)
        order = np.argsort(distances)[:k]
        return order, distances[order]

    of_training = [nearest(x[i], np.where(np.arange(60)[:, None] == i, np.inf, x)) for i in range(60)]
    radius = np.array([distances[-1] for _, distances in of_training])

    def density(order: np.ndarray, distances: np.ndarray) -> float:
        return 1 / np.maximum(radius[order], distances).mean()

    densities = np.array([density(*one) for one in of_training])
    expected = []
    for point in asked:
        order, distances = nearest(point, x)
        expected.append(densities[order].mean() / density(order, distances))
    assert np.allclose(energy(fitted("lof", x, tmp_path, neighbours=k), asked), expected, rtol=1e-4)


def test_deep_svdd_draws_the_data_to_a_fixed_centre_and_has_no_biases(tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(300, 6))
    before = fitted("deep-svdd", x, tmp_path / "a", steps=0)
    after = fitted("deep-svdd", x, tmp_path / "b", steps=200, lr=1e-3)
    assert not any(name.endswith("bias") for name, _ in after.sphere.named_parameters())
    assert torch.equal(before.sphere.centre, after.sphere.centre)
    assert (after.sphere.centre.abs() >= 0.1 - 1e-6).all(), "no coordinate that vanishing weights reach"
    outputs = before.sphere.net(torch.from_numpy(x.astype(np.float32))).mean(0)
    kept = outputs.abs() > 0.1
    assert torch.allclose(before.sphere.centre[kept], outputs[kept], atol=1e-5)
    assert energy(after, x).mean() < 0.7 * energy(before, x).mean()
    assert energy(after, 5 * x).mean() > 3 * energy(after, x).mean(), "what lies further out has more energy"
    by_hand = (after.sphere.net(torch.from_numpy(x.astype(np.float32))) - after.sphere.centre).square().sum(1)
    assert np.allclose(energy(after, x), by_hand.detach().numpy())


def test_pca_keeps_a_number_of_components_or_a_share_of_the_variance(tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(400, 5)) * [10, 5, 1, 0.5, 0.1]
    for config, kept in (({"components": 2}, 2), ({"variance": 0.9}, 2), ({"variance": 0.995}, 3)):
        model = fitted("pca", x, tmp_path, **config)
        centred = x - x.mean(0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        left = centred - centred @ directions[:kept].T @ directions[:kept]
        assert np.allclose(energy(model, x), (left**2).sum(1), rtol=1e-3, atol=1e-3)
