"""The formulas of the built-in methods, against another way to the same number."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, wasserstein_distance

from ebbench.contract import DataSpec
from ebbench.plugins import loader
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun

SPEC = DataSpec(name="x", shape=(5,))
IMAGES = DataSpec(name="x", shape=(3, 32, 32), low=-1.0, high=1.0)


def module(name: str) -> ModuleType:
    return sys.modules[loader.load("model", name).cls.__module__]


def build(name: str, data_spec: DataSpec = SPEC, **config: Any) -> Any:
    torch.manual_seed(0)
    cls = loader.load("model", name).cls
    made = cls(data_spec, cls.Config(**config))
    made.device = torch.device("cpu")
    for part in vars(made).values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return made


def test_the_pulling_away_term_is_the_double_loop():
    codes = torch.randn(6, 4)
    total = 0.0
    for i in range(6):
        for j in range(6):
            if i != j:
                cosine = codes[i] @ codes[j] / (codes[i].norm() * codes[j].norm())
                total += float(cosine) ** 2
    assert float(module("ebgan").pulling_away(codes)) == pytest.approx(total / (6 * 5), rel=1e-5)


def test_ebgan_s_energy_is_the_distance_to_the_reconstruction():
    model = build("ebgan", encoder_layers=(8, 3), generator_layers=(8,), z_dim=2)
    x = torch.randn(7, 5)
    expected = (model.decoder(model.encoder(x)) - x).norm(dim=1)
    assert torch.allclose(model.energy(x), expected)


def test_dagmm_s_energy_is_the_mixture_s_density():
    random = np.random.default_rng(0)
    factors = random.normal(size=(3, 2, 2))
    covariances = factors @ factors.transpose(0, 2, 1) + np.eye(2)
    means, shares = random.normal(size=(3, 2)), np.array([0.2, 0.5, 0.3])
    x = random.normal(size=(10, 2))
    density = sum(
        share * multivariate_normal(mean, covariance).pdf(x)
        for share, mean, covariance in zip(shares, means, covariances, strict=True)
    )
    tensors = [torch.from_numpy(a) for a in (x, shares, means, covariances)]
    energy = module("dagmm").mixture_energy(*tensors, 0.0)
    assert np.allclose(energy, -np.log(density))


def test_dagmm_s_moments_are_weighted_means():
    features = torch.randn(50, 3, dtype=torch.float64)
    membership = torch.rand(50, 2, dtype=torch.float64).softmax(1)
    shares, means, covariances = module("dagmm").moments(features, membership)
    for k in range(2):
        weights = membership[:, k].numpy()
        assert float(shares[k]) == pytest.approx(weights.mean())
        assert np.allclose(means[k], np.average(features, axis=0, weights=weights))
        assert np.allclose(covariances[k], np.cov(features.T, aweights=weights, ddof=0))


def test_dsebm_s_energy_and_its_gradient_by_hand():
    """One layer: grad E = (x - b') - W^T sigmoid(W x + c), whose square is DSEBM-r's score."""
    model = build("dsebm", layers=(4,))
    with torch.no_grad():
        model.E.centre.normal_()
    x = torch.randn(6, 5)
    layer = model.E.h[0]
    hidden = x @ layer.weight.T + layer.bias
    energy = ((x - model.E.centre) ** 2).sum(1) / 2 - torch.log1p(hidden.exp()).sum(1)
    assert torch.allclose(model.energy(x), energy, atol=1e-5)
    gradient = x - model.E.centre - hidden.sigmoid() @ layer.weight
    assert torch.allclose(model.reconstruction(x), gradient.square().sum(1), atol=1e-5)


@pytest.mark.medium
def test_the_vae_s_bound_is_under_the_likelihood_and_by_its_kl():
    """In one dimension, log p(x) by integration over z; the gap is KL(q(z|x) || p(z|x)), integrated too."""
    one = DataSpec(name="x", shape=(1,))
    model = build("vae", one, z_dim=1, layers=(6,), draws=20_000)
    x = torch.tensor([[-1.0], [0.3], [2.0]])
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)[:, None]
    step = float(z[1] - z[0])
    with torch.no_grad():
        decoded, variance = model.decoder(z.float()).double(), float(model.variance())
        mean, log_variance = model._posterior(x)
    bound = model.log_likelihood_bound(x)
    for i in range(3):
        log_joint = -((float(x[i]) - decoded) ** 2 / variance + math.log(2 * math.pi * variance)) / 2
        log_joint += -(z**2 + math.log(2 * math.pi)) / 2
        evidence = float(torch.logsumexp(log_joint, 0)) + math.log(step)
        log_q = -((z - mean[i]) ** 2 / log_variance[i].exp() + log_variance[i] + math.log(2 * math.pi)) / 2
        gap = float((log_q.exp() * (log_q - log_joint + evidence)).sum()) * step
        assert gap > 0
        assert float(bound[i]) == pytest.approx(evidence - gap, abs=0.03)


def test_bigan_s_score_weighs_reconstruction_and_belief():
    model = build("bigan", z_dim=3, hidden=8)
    x = torch.randn(6, 5)
    with torch.no_grad():
        code = model.E(x)
        believed = torch.sigmoid(model.D(x, code))
        error = (x - model.G(code)).abs().sum(1)
    assert torch.allclose(model.energy(x), 0.9 * error - 0.1 * believed.log(), atol=1e-5)
    assert torch.allclose(model.reconstruction(x), error, atol=1e-5)


class Rows:
    """Training data of the contract, from an array."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values, self.device = values, torch.device("cpu")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        return self.values[index]


@pytest.fixture
def rows() -> Rows:
    torch.manual_seed(1)
    return Rows(torch.randn(400, 5) @ torch.randn(5, 5))


def test_mahalanobis_is_the_formula(rows: Rows):
    model = build("mahalanobis", ridge=0.1)
    model.train(rows, None)
    x = rows.values.double().numpy()
    covariance = np.cov(x.T, ddof=0)
    widened = covariance + 0.1 * np.trace(covariance) / 5 * np.eye(5)
    centred = x - x.mean(0)
    expected = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(widened), centred)
    # scikit-learn shrinks instead of adding, which scales all distances alike.
    assert np.allclose(model.energy(rows.values) / 1.1, expected)


def test_kernel_pca_with_a_wide_kernel_is_pca(rows: Rows):
    """As the kernel widens, its feature space turns linear: the errors become PCA's, but for a factor."""
    kernel = build("kernel-pca", subsample=400, components=2, gamma=1e-7)
    linear = build("pca", components=2)
    kernel.train(rows, None)
    linear.train(rows, None)
    ratio = (kernel.energy(rows.values) / linear.energy(rows.values)).numpy()
    assert np.allclose(ratio, 2e-7, rtol=0.02)


def test_kernel_pca_gives_its_own_examples_back_with_all_components(rows: Rows):
    model = build("kernel-pca", subsample=400, components=399, gamma=0.05)
    model.train(rows, None)
    assert np.allclose(model.energy(rows.values), 0, atol=1e-6)
    assert (model.energy(rows.values + 100) > 0.9).all()


def test_mean_distance_and_constant(rows: Rows):
    model = build_control("mean-distance")
    model.train(rows, None)
    assert np.allclose(model.energy(rows.values), (rows.values - rows.values.mean(0)).norm(dim=1), atol=1e-4)
    assert build_control("constant").energy(rows.values).unique().tolist() == [0.0]


def build_control(name: str) -> Any:
    cls = loader.load("model", name).cls
    return cls(SPEC, cls.Config())


@pytest.mark.parametrize("name", ["oc-svm", "isolation-forest"])
def test_far_away_is_anomalous(rows: Rows, name: str):
    model = build(name)
    torch.manual_seed(0)
    model.train(rows, None)
    assert float(model.energy(rows.values + 50).min()) > float(model.energy(rows.values).quantile(0.9))


SMALL: dict[str, Any] = {"z_dim": 2, "generator_layers": (32, 32), "lr": 2e-3}
ADVERSARIAL = {
    "gan": {"layers": (32, 32)},
    "sngan": {"layers": (32, 32), "critic_steps": 2},
    "wgan-gp": {"layers": (32, 32), "critic_steps": 3, "penalty": 0.1},
    "meg": {"layers": (32, 32), "energy_steps": 2, "penalty": 0.1},
    "ebgan": {"encoder_layers": (32, 1), "margin": 1.0, "batch_norm": False},
    "bigan": {"encoder_layers": (32, 32), "hidden": 32, "dropout": 0.0},
    "entropic-gan": {"layers": (32, 32), "dual": "semi", "cost": "squared", "regularisation": 0.01},
}


@pytest.mark.medium
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_training_takes_the_samples_to_the_data(name: str, tmp_path: Path):
    """A loss with a wrong sign, of either net, would drive them elsewhere."""
    torch.manual_seed(0)
    data = Rows(torch.randn(4096, 2) * torch.tensor([0.5, 0.2]) + torch.tensor([1.0, -1.0]))
    data.spec = DataSpec(name="x", shape=(2,))
    model = build(name, data.spec, **SMALL | {"steps": 400, "batch_size": 128} | ADVERSARIAL[name])
    before = distance(model.sample(2000), data.values)
    train(model, data, tmp_path)
    after = distance(model.sample(2000), data.values)
    assert after < before / 2


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_dense_gan_takes_its_samples_to_the_data(kind: str, tmp_path: Path):
    torch.manual_seed(0)
    data = Rows(torch.randn(4096, 2) * torch.tensor([0.5, 0.2]) + torch.tensor([1.0, -1.0]))
    data.spec = DataSpec(name="x", shape=(2,))
    rate = {"adam": 2e-3, "sgd": 0.3}[kind]
    nets = {"nets": "dense", "layers": (32,), "generator_layers": (32, 32), "z_dim": 2}
    optimisers = {"discriminator_optimiser": kind, "generator_optimiser": kind, "lr": rate}
    model = build("gan", data.spec, steps=400, batch_size=128, **nets, **optimisers)
    before = distance(model.sample(2000), data.values)
    train(model, data, tmp_path)
    model.G.eval()
    assert distance(model.sample(2000), data.values) < before / 2


PICTURES: dict[str, dict[str, Any]] = {
    "gan": {"init": 0.0, "lr": 5e-4},
    "sngan": {"init": 0.0, "lr": 5e-4, "critic_steps": 1},
    "ebgan": {"nets": "conv", "margin": 20.0},
    "bigan": {"lr": 5e-4},
}


@pytest.mark.medium
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_keep_their_variety(name: str, tmp_path: Path):
    """Squares on black: from maps of 2x2 a generator gives nearly one picture after as many steps."""
    torch.manual_seed(0)
    pictures = -torch.ones(1024, 3, 28, 28)
    for channel in pictures.flatten(0, 1):
        row, column = torch.randint(4, 18, (2,)).tolist()
        channel[row : row + 6, column : column + 6] = 1
    data = Rows(pictures)
    data.spec = DataSpec(name="x", shape=(3, 28, 28), low=-1.0, high=1.0)
    model = build(name, data.spec, steps=150, batch_size=32, z_dim=32, width=8, **PICTURES[name])
    train(model, data, tmp_path)
    assert model.sample(64).std(0).mean() > pictures.std(0).mean() / 3


RESIDUAL = {"sngan": {"generator_width": 8, "lr_decay": "linear"}, "wgan-gp": {"lr_decay": "linear"}}


@pytest.mark.parametrize("name", RESIDUAL)
def test_residual_nets_train(name: str, tmp_path: Path):
    """The nets of the paper budgets: two steps move both of them, and samples are images."""
    torch.manual_seed(0)
    data = Rows(torch.rand(32, 3, 32, 32) * 2 - 1)
    data.spec = IMAGES
    sizes = {"steps": 2, "batch_size": 4, "width": 8, "z_dim": 16}
    model = build(name, IMAGES, nets="residual", **sizes, **RESIDUAL[name])
    before = {key: value.clone() for key, value in model.G.state_dict().items()}
    train(model, data, tmp_path)
    assert any((before[key] != value).any() for key, value in model.G.state_dict().items() if "conv" in key)
    model.G.eval()
    assert model.sample(5).shape == (5, 3, 32, 32) and model.sample(5).abs().max() <= 1


def test_sngan_s_layers_stretch_nothing_by_more_than_one():
    """Their largest singular value, by a whole decomposition, is that of the paper's equation 8."""
    model = build("sngan", IMAGES, nets="residual", width=8, generator_width=8)
    model.D.train()
    # Each pass takes one step of the power iteration.
    for _ in range(200):
        model.logit(torch.rand(1, 3, 32, 32))
    layers = [part for part in model.D.modules() if hasattr(part, "parametrizations")]
    assert len(layers) == 11
    for layer in layers:
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1, abs=0.02)


@pytest.mark.medium
def test_a_vae_of_small_first_variance_uses_its_code(tmp_path: Path):
    """Eight points on a circle, of the variance 1 at which training from 1 stays at their mean."""
    torch.manual_seed(0)
    angles = torch.arange(1024) * math.pi / 4
    data = Rows(2**0.5 * torch.stack([angles.cos(), angles.sin()], 1))
    spread = {}
    for first in (1.0, 0.05):
        model = build(
            "vae", DataSpec(name="x", shape=(2,)), z_dim=2, layers=(64, 64), steps=400, first_variance=first
        )
        train(model, data, tmp_path / str(first))
        spread[first] = model.sample(500).std(0).mean()
    assert spread[1.0] < 0.3
    assert spread[0.05] > 0.8


def train(model: Any, data: Rows, folder: Path) -> None:
    for part in vars(model).values():
        if isinstance(part, torch.nn.Module):
            part.train()
    model.train(
        data,
        TrainingRun(
            model, folder, seed=0, device=torch.device("cpu"), stop=StopRequest(), reporter=Reporter()
        ),
    )


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """The 1-Wasserstein distance, mean over the two columns."""
    return float(np.mean([wasserstein_distance(x[:, i], y[:, i]) for i in range(2)]))
