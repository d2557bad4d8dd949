"""The laws of the plane, what is measured of samples and energies, and samplers over a trained GAN."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from sklearn.datasets import make_swiss_roll
from torch.distributions import MultivariateNormal

from ebbench.contract import DataSpec, Model
from ebbench.data.store import Store
from ebbench.errors import Diverged
from ebbench.metrics import landscape
from ebbench.nn.langevin import (
    effective_sample_size,
    metropolis_adjusted_langevin,
    unadjusted_langevin,
)
from ebbench.plugins import loader
from ebbench.record import resultfiles
from ebbench.storage.hashing import derive_seed

CPU = torch.device("cpu")


def module() -> Any:
    return sys.modules[loader.load("task", "toy2d").cls.__module__]


def toy(law: str, seed: int = 0) -> Any:
    cls = loader.load("task", "toy2d").cls
    (part,) = cls(cls.Options(law=law), "clean", Store(None)).parts(seed).values()
    return part


class Given:
    """A scoring of given samples and a given energy."""

    def __init__(self, samples: np.ndarray, energy=None) -> None:
        self.drawn, self.energy = samples, energy

    def samples(self, n: int, reduce) -> dict[str, np.ndarray]:
        return reduce(torch.from_numpy(self.drawn))

    def scored_by(self, name: str) -> bool:
        return name == "energy" and self.energy is not None

    def scores(self, x: torch.Tensor, only) -> dict[str, np.ndarray]:
        return {"energy": self.energy(x).double().numpy()}

    def picture(self, name: str, pixels: np.ndarray) -> None:
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3


class Sampler(Model):
    def sample(self, n: int) -> torch.Tensor: ...


class Energy(Sampler):
    def energy(self, x: torch.Tensor) -> torch.Tensor: ...


def spec() -> DataSpec:
    return DataSpec(name="toy2d", shape=(2,))


# --- The laws


def test_the_mixtures_are_gulrajani_s():
    eight, grid = module().law("8gaussians"), module().law("25gaussians")
    assert np.allclose(np.linalg.norm(eight.centres, axis=1), 2 / 1.414)
    assert eight.std == pytest.approx(0.0141, abs=1e-4)
    assert len(np.unique(grid.centres.round(6), axis=0)) == 25
    assert sorted(set(grid.centres[:, 0].round(3))) == [-1.414, -0.707, 0, 0.707, 1.414]
    assert grid.std == pytest.approx(0.0177, abs=1e-4)


def test_the_swiss_roll_is_scikit_learn_s():
    ours = module().law("swissroll").draw(40_000, 0)
    theirs = make_swiss_roll(40_000, noise=0.25, random_state=1)[0][:, [0, 2]] / 7.5
    again = make_swiss_roll(40_000, noise=0.25, random_state=2)[0][:, [0, 2]] / 7.5
    chance = landscape.sliced_wasserstein(again, theirs)
    assert landscape.sliced_wasserstein(ours.astype(np.float64), theirs) < 2 * chance + 1e-3


@pytest.mark.medium
@pytest.mark.parametrize("name", ["8gaussians", "25gaussians", "swissroll"])
def test_a_law_s_density_adds_up_to_one_and_is_that_of_its_draws(name: str):
    law = module().law(name)
    points, area = landscape.grid(2.0, 400 if name == "swissroll" else 1000)
    density = law.log_density(torch.from_numpy(points)).exp().numpy()
    assert density.sum() * area == pytest.approx(1, abs=1e-3)
    # The share of the draws in a box against the density's mass there.
    box = (points[:, 0] > 0) & (points[:, 1] > 0.2)
    drawn = law.draw(50_000, 0)
    share = ((drawn[:, 0] > 0) & (drawn[:, 1] > 0.2)).mean()
    assert share == pytest.approx((density[box] * area).sum(), abs=0.01)


# --- The metrics


def test_sliced_wasserstein_is_the_mean_of_the_projections():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(200, 2)), rng.normal(size=(200, 2)) + 0.3
    angles = np.pi * (np.arange(180) + 0.5) / 180
    expected = np.mean(
        [wasserstein_distance(one @ [np.cos(a), np.sin(a)], other @ [np.cos(a), np.sin(a)]) for a in angles]
    )
    assert landscape.sliced_wasserstein(one, other) == pytest.approx(expected)
    # A shift by v moves every projection by its share of |v|: 2 / pi on average.
    assert landscape.sliced_wasserstein(one, one + [0.6, 0.8]) == pytest.approx(2 / np.pi, rel=1e-3)


def test_samples_on_three_modes():
    law = module().law("25gaussians")
    # 2,500 on each of three modes, half of them 3.5 standard deviations out; 2,500 far from all.
    out = np.array([3.5 * law.std, 0.0])
    points = [law.centres[i] + shift for i in (0, 7, 24) for shift in ([0, 0], out) for _ in range(1250)]
    points += [law.centres[12] + [0.3, 0.0]] * 2500
    score = toy("25gaussians").score(Sampler(spec(), None), Given(np.float32(points)))
    assert score.metrics["modes_25gaussians"] == 3
    assert score.metrics["high_quality_3"] == pytest.approx(0.375)
    assert score.metrics["high_quality_4_25gaussians"] == pytest.approx(0.75)
    # Four modes are met, evenly: KL to 25 is log(25 / 4).
    assert score.metrics["reverse_kl"] == pytest.approx(np.log(25 / 4))
    assert "kl" not in score.metrics, "a sampler has no energy"


def test_the_true_energy_has_no_divergence_and_a_wrong_one_its_own():
    task, law = toy("25gaussians"), module().law("25gaussians")
    draws = law.draw(10_000, 5)
    exact = task.score(Energy(spec(), None), Given(draws, lambda x: 7 - law.log_density(x)))
    assert exact.metrics["kl"] == pytest.approx(0, abs=1e-5)
    assert exact.metrics["spurious_mass"] == pytest.approx(np.exp(-12.5), rel=0.05)
    assert exact.metrics["spurious_peaks"] == 0
    # Flat on [-2, 2]^2: KL is log 16 less the law's entropy, the spurious mass the area outside of 25 discs.
    flat = task.score(Energy(spec(), None), Given(draws, lambda x: torch.zeros(len(x))))
    entropy = 1 + np.log(2 * np.pi * law.std**2) + np.log(25)
    assert flat.metrics["kl"] == pytest.approx(np.log(16) - entropy, abs=0.05)
    assert flat.metrics["spurious_mass"] == pytest.approx(1 - 25 * np.pi * (5 * law.std) ** 2 / 16, abs=1e-3)


def test_a_spurious_mode_is_counted_and_weighed():
    task, law = toy("8gaussians"), module().law("8gaussians")

    def energy(x: torch.Tensor) -> torch.Tensor:
        # A ninth Gaussian in the middle, as heavy as any other.
        ninth = -x.double().square().sum(1) / (2 * law.std**2) - np.log(2 * np.pi * law.std**2)
        return -torch.logaddexp(law.log_density(x) + np.log(8 / 9), ninth - np.log(9))

    score = task.score(Energy(spec(), None), Given(law.draw(10_000, 0), energy))
    assert score.metrics["spurious_mass"] == pytest.approx(1 / 9, abs=2e-3)
    assert score.metrics["spurious_peaks"] == 1
    assert score.metrics["kl"] == pytest.approx(np.log(9 / 8), abs=1e-3)


@pytest.mark.medium
def test_the_laws_are_averaged(cli, tmp_path: Path):
    end = cli("run", "--task", "toy2d", "--model", "exact-density", "--seeds", "0")
    assert end.code == 0, end.err
    (path,) = (tmp_path / "results" / "toy2d").rglob("*.json")
    made = resultfiles.read(path)
    each = [made.metrics[f"sliced_wasserstein_{name}"] for name in module().LAWS]
    assert made.metrics["sliced_wasserstein"] == pytest.approx(np.mean(each))
    assert made.metrics["modes_8gaussians"] == 8 and made.metrics["modes_25gaussians"] == 25
    assert abs(made.metrics["kl"]) < 1e-4
    assert len(made.pictures) == 3


# --- Chains


def test_the_effective_sample_size_of_an_autoregression():
    """x_t = a x_{t-1} + noise is worth (1 - a) / (1 + a) of its length."""
    rng = np.random.default_rng(0)
    steps, chains, a = 4000, 8, 0.8
    x = np.zeros((steps, chains))
    x[0] = rng.normal(size=chains) / np.sqrt(1 - a**2)
    for t in range(1, steps):
        x[t] = a * x[t - 1] + rng.normal(size=chains)
    size = float(effective_sample_size(torch.from_numpy(x)))
    assert size == pytest.approx(steps * chains * (1 - a) / (1 + a), rel=0.15)
    independent = float(effective_sample_size(torch.randn(2000, 4)))
    assert independent == pytest.approx(8000, rel=0.15)
    # Chains that never meet are worth about one draw each, however long.
    apart = torch.randn(2000, 4) * 0.01 + torch.arange(4) * 10
    assert float(effective_sample_size(apart)) < 10


@pytest.mark.parametrize("dynamics", [unadjusted_langevin, metropolis_adjusted_langevin])
def test_a_chain_that_diverges_is_named(dynamics):
    def log_density(x: torch.Tensor) -> torch.Tensor:
        # Cubic growth of the gradient: a step of 1 flies off within a few steps.
        return -x.pow(4).sum(1) if dynamics is unadjusted_langevin else x.sum(1) / 0.0

    with pytest.raises(Diverged, match=r"step \d+ of 50"):
        dynamics(log_density, torch.full((3, 2), 2.0), steps=50, step_size=1.0)


# --- DDLS


class Blob:
    """A GAN whose generator is N(0, I) itself, and whose logit is the best there is for N(shift, I)."""

    z_dim = 2
    shift = torch.tensor([1.0, -0.5])
    scale, offset = 1.0, 0.0

    def generate(self, z: torch.Tensor) -> torch.Tensor:
        return z

    def logit(self, x: torch.Tensor) -> torch.Tensor:
        best = x @ self.shift - self.shift.square().sum() / 2
        return (best - self.offset) / self.scale


class Shifted:
    """Held-out data N(shift, I)."""

    device = CPU

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(index), 2, generator=torch.Generator().manual_seed(int(index[0]))) + Blob.shift


def ddls(base: Any, **config: Any) -> Any:
    cls = loader.load("model", "ddls").cls
    made = cls(spec(), cls.Config(**config))
    made.base, made.device = base, CPU
    return made


@pytest.mark.parametrize(("sampler", "knobs"), [("sample", {}), ("mala", {}), ("isir", {"steps": 20})])
def test_ddls_with_the_best_discriminator_samples_the_data(sampler: str, knobs: dict[str, Any]):
    torch.manual_seed(0)
    long = {"steps": 400, "step_size": 0.1, "calibrated": False}
    made = getattr(ddls(Blob()), sampler)(4000, **long | knobs)
    # The prior times the density ratio is N(shift, I).
    assert torch.allclose(made.mean(0), Blob.shift, atol=0.06)
    assert torch.allclose(made.var(0), torch.ones(2), atol=0.1)


def test_calibration_finds_the_scale_and_shift_of_a_critic():
    torch.manual_seed(0)
    base = Blob()
    base.scale, base.offset = 0.001, 3.0
    model = ddls(base, calibration_size=40_000)
    model.train(Shifted(), None)
    scale, shift = (p.item() for p in model.calibration.parameters())
    assert scale == pytest.approx(0.001, rel=0.05)
    assert shift == pytest.approx(3.0, abs=0.05)
    made = model.isir(4000)
    assert torch.allclose(made.mean(0), Blob.shift, atol=0.1), (
        "the critic in its own units, brought to a logit"
    )
    raw = model.isir(4000, calibrated=False)
    assert (raw.mean(0) - Blob.shift).norm() > 0.3


def test_the_latent_energy_of_an_example_is_that_of_its_latent():
    model = ddls(Blob(), inversion_steps=300)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    # G is the identity, so that z = x, the calibration one as well: E(z) = -log N(z; 0, I) - d(z).
    prior = MultivariateNormal(torch.zeros(2), torch.eye(2))
    expected = -prior.log_prob(x) - Blob().logit(x)
    assert torch.allclose(model.latent_energy(x), expected, atol=1e-3)
    assert model.reconstruction(x).max() < 1e-5
    # Each example by itself, whatever stands beside it.
    assert torch.equal(model.latent_energy(x[:1]), model.latent_energy(x)[:1])


@pytest.mark.medium
def test_a_base_is_trained_once_and_taken_from_the_store(cli, tmp_path: Path):
    words = ("run", "--task", "toy2d", "--budget", "smoke", "--seeds", "0", "--set", "law=8gaussians")
    first = cli(*words, "--model", "ddls", "--set", "base=gan", "--set", "ddls.steps=5")
    assert first.code == 0, first.err
    assert "builds on gan" in first.err + first.out
    second = cli(*words, "--model", "ddls", "--sampler", "mala", "--set", "base=gan", "--set", "mala.steps=5")
    assert second.code == 0, second.err
    assert "taken from the store" in second.err + second.out
    made = {path.parent.name: resultfiles.read(path) for path in (tmp_path / "results").rglob("*.json")}
    assert made["ddls"].overrides["base"] == "gan"
    base = made["ddls"].training.base
    assert (base.name, base.code_hash) == ("gan", loader.load("model", "gan").code_hash)
    assert base.steps == base.config["steps"] > made["ddls"].training.steps == 0
    assert 0 < made["ddls"].scoring.diagnostics["acceptance"] <= 1
    # The base by itself is the same training.
    alone = cli(*words, "--model", "gan")
    assert "taken from the store" in alone.err + alone.out
    whole = json.loads(next((tmp_path / "results").rglob("*/gan/*.json")).read_text())
    assert whole["training"]["hash"] == base.hash


@pytest.mark.medium
def test_a_discriminator_that_was_trained_on_comes_back_on_a_base_from_the_store(cli, tmp_path: Path):
    words = ("run", "--task", "toy2d", "--budget", "smoke", "--model", "ddls:fine-tuned", "--set", "base=gan")
    words += ("--set", "law=8gaussians", "--set", "fine_tune_steps=5")
    # The base is trained by this command, and has its optimisers still; then both come from the store.
    first = cli(*words, "--set", "ddls.steps=5")
    assert first.code == 0 and "training gan" in first.err, first.err
    second = cli(*words, "--sampler", "mala", "--set", "mala.steps=5")
    assert second.code == 0 and "training" not in second.err, second.err
    a, b = (resultfiles.read(path) for path in (tmp_path / "results").rglob("*.json"))
    assert a.training.hash == b.training.hash and a.training.parameters > 1000
    assert a.training.base == b.training.base


def test_a_base_without_a_discriminator_is_refused(cli):
    end = cli("run", "--task", "toy2d", "--model", "ddls", "--set", "base=vae")
    assert end.code == 2 and "no generate and no logit" in end.err
    assert cli("run", "--task", "toy2d", "--model", "ddls", "--set", "base=nothing").code == 2


def test_what_no_sampler_and_no_energy_can_have_is_beyond_a_limit():
    for name, mean in module().OF_REAL_POINTS.items():
        draws = [module().law(name).draw(module().SAMPLES, 100 + i) for i in range(6)]
        found = [landscape.sliced_wasserstein(*draws[i : i + 2]) for i in range(0, 6, 2)]
        assert np.mean(found) == pytest.approx(mean, rel=0.6) and min(found) > 1.5 * module().NEAREST * mean
    task = toy("8gaussians")
    law = module().law("8gaussians")
    real = law.draw(module().SAMPLES, derive_seed(0, "toy2d", "8gaussians", "held out"))
    known = {point.tobytes() for point in real}

    def spiked(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([-1e9 if point.tobytes() in known else 0.0 for point in x.numpy()])

    # The reference itself as samples, and an energy that is low at the reference and flat on the grid.
    cheat = task.score(None, Given(real, spiked)).metrics
    beyond = {limit.metric for limit in task.limits if limit.broken(cheat)}
    assert beyond == {"sliced_wasserstein", "sliced_wasserstein_8gaussians", "kl", "kl_8gaussians"}
    honest = task.score(None, Given(law.draw(module().SAMPLES, 5), lambda x: -law.log_density(x))).metrics
    assert not [limit for limit in task.limits if limit.broken(honest)]
