"""Bounds of the log-likelihood on Gaussians, against closed forms and numerical integration."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from ebbench.contract import BOUND, DataSpec
from ebbench.data.store import Store
from ebbench.errors import UsageError
from ebbench.plugins import loader
from ebbench.record import resultfiles

CPU = torch.device("cpu")


def task_module() -> Any:
    return sys.modules[loader.load("task", "gaussian").cls.__module__]


def gaussian_task(seed: int = 0, **options: Any) -> Any:
    cls = loader.load("task", "gaussian").cls
    return cls(cls.Options(**options), "clean", Store(None)).parts(seed)


def entropic_gan(dim: int, **config: Any) -> Any:
    torch.manual_seed(0)
    cls = loader.load("model", "entropic-gan").cls
    model = cls(DataSpec(name="x", shape=(dim,)), cls.Config(**{"warm_up": False, "z_dim": 0, **config}))
    model.device = CPU
    return model


def fit(cli, setting: str) -> Any:
    return cli("run", "--task", "gaussian", "--model", "gaussian-fit", "--seeds", "0", "--set", setting)


class Loop:
    """What a training sees of the engine, and no more."""

    progress = 0.0

    def batches(self, data: torch.Tensor, *, size: int, steps: int):
        for step in range(steps):
            self.progress = step / steps
            yield data[torch.randint(len(data), (size,))]

    def log(self, **values: Any) -> None:
        pass


class Lies:
    """A scoring by a given bound."""

    def __init__(self, bound) -> None:
        self.bound = bound

    def scores(self, x: torch.Tensor) -> dict[str, np.ndarray]:
        return {BOUND: -self.bound(x.numpy())}


# --- The task


def test_covariances_are_as_large_as_published_and_differ_by_seed():
    module = task_module()
    for dim, mean in module.LOG_EIGENVALUES.items():
        law = module.random_gaussian(dim, 3)
        assert np.log(np.linalg.eigvalsh(law.covariance)).mean() == pytest.approx(mean)
        # protocols.md 1.7: the exact log-likelihood that this amounts to.
        published = {5: -16.38, 10: -35.15, 20: -58.04, 30: -91.80, 64: -203.46}[dim]
        exact = -dim / 2 * (math.log(2 * math.pi) + 1 + mean)
        assert exact == pytest.approx(published, abs=0.3)
        assert np.array_equal(law.covariance, module.random_gaussian(dim, 3).covariance)
        assert not np.allclose(law.covariance, module.random_gaussian(dim, 4).covariance)


def test_the_exact_density_and_the_draws_are_the_gaussian_s():
    law = task_module().random_gaussian(5, 0)
    drawn = law.draw(200_000, 1)
    error = np.abs(np.cov(drawn.T) - law.covariance).max()
    assert error < 5 * np.abs(law.covariance).max() * math.sqrt(2 / len(drawn))
    expected = multivariate_normal(np.zeros(5), law.covariance).logpdf(drawn[:100])
    assert np.allclose(law.log_density(drawn[:100]), expected)


def test_a_bound_is_measured_in_nats_and_a_false_one_is_found():
    (task,) = gaussian_task(dim=5).values()
    low = task.score(None, Lies(lambda y: task.gaussian.log_density(y) - 0.5)).metrics
    assert low["gap"] == pytest.approx(0.5) and low["valid"] == 1
    assert low["relative_gap"] == low["relative_gap_5"] == pytest.approx(100 * 0.5 / -low["exact"])
    high = task.score(None, Lies(lambda y: task.gaussian.log_density(y) + 0.1)).metrics
    assert high["valid"] == 0 and high["gap"] == pytest.approx(-0.1)
    # Noise alone lifts a mean above the truth by less than its error, and is no lie.
    noise = 0.5 * np.random.default_rng(0).normal(size=2000)
    noisy = task.score(None, Lies(lambda y: task.gaussian.log_density(y) + noise)).metrics
    assert noisy["valid"] == 1 and noisy["gap_error"] == pytest.approx(0.5 / math.sqrt(2000), rel=0.1)


@pytest.mark.parametrize("dim", [5, 64])
def test_noise_buys_no_room_above_the_truth(dim: int):
    # What a cheat tried: 65,000 nats too high, under noise of a deviation of a million.
    (task,) = gaussian_task(dim=dim).values()
    noise = np.random.default_rng(1).normal(size=2000)
    for lift, scale in ((65_000, 1e6), (1.0, 10.0), (0.0, 1e6), (-5.0, 100.0)):
        made = task.score(None, Lies(lambda y, a=lift, s=scale: task.gaussian.log_density(y) + a + s * noise))
        assert made.metrics["valid"] == 0, (lift, scale)
    # A constant is above the truth at every second example, however well its mean is chosen.
    made = task.score(None, Lies(lambda y: np.full(len(y), task.gaussian.log_density(y).mean())))
    assert abs(made.metrics["gap"]) < 1e-6 and made.metrics["valid"] == 0
    far = task.score(None, Lies(lambda y: task.gaussian.log_density(y) + 1e4)).metrics
    assert any(limit.broken(far) for limit in task.limits)


def test_the_dimensions_are_averaged_and_one_false_bound_is_enough():
    parts = gaussian_task()
    assert list(parts) == ["dim 5", "dim 10", "dim 20", "dim 30", "dim 64"]
    scores = {}
    for name, part in parts.items():
        lift = float(name == "dim 20")
        scores[name] = part.score(None, Lies(lambda y, law=part.gaussian, a=lift: law.log_density(y) + a))
    whole = parts["dim 5"].combine(scores)
    assert whole.metrics["valid"] == 0
    assert whole.metrics["gap"] == pytest.approx(-1 / 5)
    assert whole.metrics["relative_gap_5"] == pytest.approx(0) and whole.metrics["relative_gap_20"] < 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1,2\n2,1\n", "eigenvalue"),
        ("1,2\n0,1\n", "not symmetric"),
        ("1,2,3\n4,5,6\n", r"shape \(2, 3\)"),
        ("1,nan\nnan,1\n", "shape"),
        ("a,b\n", "cannot be read"),
    ],
)
def test_what_is_no_covariance_is_refused(cli, tmp_path: Path, content: str, said: str):
    (tmp_path / "S.csv").write_text(content)
    with pytest.raises(UsageError, match=said):
        gaussian_task(covariance=str(tmp_path / "S.csv"))
    end = fit(cli, "covariance=S.csv")
    assert end.code == 2 and "Traceback" not in end.err


def test_a_covariance_of_one_s_own_runs(cli, tmp_path: Path):
    (tmp_path / "S.csv").write_text("2,1\n1,3\n")
    end = cli(
        "run", "--task", "gaussian", "--model", "gaussian-fit", "--seeds", "0", "--set", "covariance=S.csv"
    )
    assert end.code == 0, end.err
    (path,) = (tmp_path / "results" / "gaussian").rglob("*.json")
    made = resultfiles.read(path)
    assert made.task.options["covariance"] == "S.csv" and str(tmp_path) not in path.read_text()
    assert abs(made.metrics["gap"]) < 0.01
    # Of two dimensions, E log p = -(log 2 pi + 1) - log det(S) / 2.
    expected = -(math.log(2 * math.pi) + 1) - math.log(5) / 2
    assert made.metrics["exact"] == pytest.approx(expected, abs=0.08)


def test_a_file_of_a_long_name_is_one_like_another(cli, tmp_path: Path):
    name = "c" * 230 + ".csv"
    (tmp_path / name).write_text("2,1\n1,3\n")
    words = ("run", "--task", "gaussian", "--model", "gaussian-fit", "--seeds", "0", "--budget", "smoke")
    end = cli(*words, "--set", f"covariance={name}")
    assert end.code == 0, end.err
    (path,) = (tmp_path / "results" / "gaussian").rglob("*.json")
    (kept,) = resultfiles.read(path).provenance.data_hashes
    assert len(kept) == 200 and name.startswith(kept[:-1])


def test_another_dimension_is_refused(cli):
    end = fit(cli, "dim=7")
    assert end.code == 2 and "5, 10, 20, 30, 64" in end.err


def test_the_exact_density_has_no_gap_and_needs_a_known_law(cli, tmp_path: Path):
    end = cli("run", "--task", "gaussian", "--model", "exact-density", "--seeds", "0", "--set", "dim=10")
    assert end.code == 0, end.err
    (path,) = (tmp_path / "results" / "gaussian").rglob("*.json")
    assert resultfiles.read(path).metrics["gap"] == pytest.approx(0, abs=1e-6)
    end = cli("run", "--task", "stackedmnist", "--model", "exact-density", "--set", "source=digits")
    assert end.code == 2


# --- Entropic GAN, linear form


def test_the_linear_dual_is_the_sampled_one():
    """The Gaussian integrals against a million latents."""
    model = entropic_gan(2, form="linear", cost="squared", regularisation=1.5)
    with torch.no_grad():
        model.D2.Q.copy_(torch.tensor([[0.3, -0.1], [0.2, 0.1]]))
        model.D2.q.copy_(torch.tensor([0.2, -0.3]))
    y = torch.randn(5, 2)
    with torch.no_grad():
        dual, cost = model._linear_objective(y, 1.5)
    x = torch.randn(1_000_000, 2)
    samples = model.G(x).detach()
    d2 = model.D2(samples).detach()
    costs = (y[:, None] - samples).square().sum(2) / 2
    logits = (-d2 - costs) / 1.5
    expected = -1.5 * (logits.logsumexp(1) - math.log(len(x))).mean() - d2.mean()
    assert float(dual) == pytest.approx(float(expected), abs=5e-3)
    assert float(cost) == pytest.approx(float((logits.softmax(1) * costs).sum(1).mean()), abs=5e-3)


@pytest.mark.medium
def test_the_linear_form_trains_to_the_closed_form():
    """Entropic transport between Gaussians: WW' = (S - lambda I)+, here with one axis below lambda."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    law = task_module().Gaussian((turn * [9.0, 4.0, 0.5]) @ turn.T)
    y = law.draw(50_000, 0)
    best = (turn * [8.0, 3.0, 0.0]) @ turn.T
    model = entropic_gan(
        3,
        form="linear",
        cost="squared",
        regularisation=1.0,
        steps=1500,
        critic_steps=1,
        batch_size=512,
        lr=0.02,
        lr_end=0.01,
    )
    model.train(torch.from_numpy(y), Loop())
    w = model.G.weight.detach().numpy()
    assert np.abs(w @ w.T - best).max() < 0.25
    # Its bound there is the likelihood of N(0, WW' + lambda I), to half a per cent.
    test = law.draw(2000, 1)
    optimum = multivariate_normal(np.zeros(3), best + np.eye(3)).logpdf(test).mean()
    found = float(model.log_likelihood_bound(torch.from_numpy(test)).mean())
    assert found == pytest.approx(optimum, rel=5e-3)
    assert found < law.log_density(test).mean(), "0.5 of variance is given lambda's 1"


def exact_surrogate(model: Any, y: np.ndarray) -> np.ndarray:
    """log f(y) - KL(P*(x | y) || posterior), both Gaussian, in float64."""
    strength = model.config.regularisation
    w, b = model.G.weight.detach().double().numpy(), model.G.bias.detach().double().numpy()
    curvature, q = model.D2.symmetric().detach().double().numpy(), model.D2.q.detach().double().numpy()
    d = len(b)
    rest = y.astype(np.float64) - b
    prior = np.eye(w.shape[1])
    star = np.linalg.inv(prior + w.T @ (curvature + np.eye(d)) @ w / strength)
    star_mean = (rest - curvature @ b - q) @ w @ star / strength
    posterior = prior + w.T @ w / strength
    posterior_mean = rest @ w @ np.linalg.inv(posterior) / strength
    away = star_mean - posterior_mean
    divergence = np.trace(posterior @ star) - len(prior) + ((away @ posterior) * away).sum(1)
    divergence -= np.linalg.slogdet(posterior)[1] + np.linalg.slogdet(star)[1]
    return multivariate_normal(b, w @ w.T + strength * np.eye(d)).logpdf(y) - divergence / 2


def test_the_bound_is_right_at_64_dimensions_and_says_its_error():
    model = entropic_gan(64, form="linear", cost="squared", regularisation=1.0, draws=512)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        model.G.weight.copy_(torch.from_numpy(rng.normal(size=(64, 64)) * 0.7))
        noise = rng.normal(size=(64, 64)) * 0.004
        model.D2.Q.copy_(torch.from_numpy(noise + noise.T))
        model.D2.q.copy_(torch.from_numpy(rng.normal(size=64) * 0.05))
    y = rng.normal(size=(60, 64)).astype(np.float32) * 6
    exact = exact_surrogate(model, y)
    made = model.surrogate(torch.from_numpy(y))
    miss = made.bound.detach().numpy() - exact
    errors = made.error.detach().numpy()
    assert 0.02 < float(made.effective.mean()) < 1, "flat weights would test nothing"
    # Errors of one standard deviation each: their squares add up to about their number.
    assert 0.5 < np.mean((miss / errors) ** 2) < 2.5
    assert abs(miss.mean()) < 4 * errors.mean() / math.sqrt(60) + 0.02
    assert np.abs(exact).mean() > 100 * errors.mean()


# --- Entropic GAN, network form


@pytest.mark.medium
@pytest.mark.parametrize("cost", ["squared", "l1"])
def test_the_bound_s_constants_by_quadrature(cost: str):
    """One dimension: E_{P*}[log p(x) + log f(y | x)] + H(P*), each integral on a fine grid."""
    strength = 0.7
    model = entropic_gan(
        1, cost=cost, regularisation=strength, layers=(8,), generator_layers=(8,), draws=20_000, init=0.0
    )
    y = torch.tensor([[-1.0], [0.3], [2.0]])
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    width = float(x[1] - x[0])
    with torch.no_grad():
        made = model.G(x.float()[:, None])
        d2 = model.D2(made).double()
    expected = []
    for one in y.double():
        difference = (one - made.double()).squeeze(1)
        if cost == "squared":
            likelihood = -difference.square() / (2 * strength) - math.log(2 * math.pi * strength) / 2
            costs = difference.square() / 2
        else:
            likelihood = -difference.abs() / strength - math.log(2 * strength)
            costs = difference.abs()
        prior = -x.square() / 2 - math.log(2 * math.pi) / 2
        star = prior - (d2 + costs) / strength
        star = star - (star.exp().sum() * width).log()
        expected.append(float((star.exp() * (prior + likelihood - star)).sum() * width))
    found = model.surrogate(y)
    assert found.bound.detach().numpy() == pytest.approx(expected, abs=0.02)
    assert float(found.error.max()) < 0.01


def test_the_best_first_potential_makes_the_two_duals_one():
    """Where D1 is the soft minimum that the semi-dual takes, the full dual has its value."""
    semi = entropic_gan(
        2, dual="semi", cost="squared", regularisation=0.5, layers=(8,), generator_layers=(8,)
    )
    full = entropic_gan(
        2, dual="full", cost="squared", regularisation=0.5, layers=(8,), generator_layers=(8,)
    )
    full.G, full.D2 = semi.G, semi.D2
    y = torch.randn(6, 2)

    def at_same_latents(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(3)
        return model._sampled_objective(y, 0.5)

    torch.manual_seed(3)
    samples = semi.G(torch.randn(6, 2))
    best = torch.zeros(6)
    for i in range(6):
        total = 0.0
        for j in range(6):
            cost = (y[i] - samples[j]).square().sum() / 2
            total += math.exp((-semi.D2(samples[j : j + 1]) - cost).item() / 0.5)
        best[i] = -0.5 * math.log(total / 6)
    full.D1 = lambda _: best
    for one, other in zip(at_same_latents(semi), at_same_latents(full), strict=True):
        assert one.item() == pytest.approx(other.item(), abs=1e-5)
