"""Entropic GAN's Sinkhorn divergence, against brute force, POT, geomloss and what it is for."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from ebbench.contract import DataSpec
from ebbench.errors import UsageError
from ebbench.plugins import loader

CPU = torch.device("cpu")


def module() -> ModuleType:
    return sys.modules[loader.load("model", "entropic-gan").cls.__module__]


def model(dim: int, **config: Any) -> Any:
    torch.manual_seed(0)
    cls = loader.load("model", "entropic-gan").cls
    small = {"dual": "batch", "warm_up": False, "cost": "squared", "layers": (8,), "generator_layers": (32,)}
    made = cls(DataSpec(name="x", shape=(dim,)), cls.Config(**{**small, "z_dim": dim, **config}))
    made.device = CPU
    return made


def clouds(n: int = 20, m: int = 20, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return one, 1.5 * torch.randn(m, 3, generator=generator, dtype=torch.float64) + 0.5


def brute_force(costs: Tensor, strength: float) -> tuple[float, np.ndarray]:
    """Sinkhorn at one strength until nothing moves; the cost by its definition, from the coupling."""
    c = costs.numpy()
    n, m = c.shape
    f, g = np.zeros(n), np.zeros(m)
    for _ in range(200_000):
        before = f
        f = -strength * (logsumexp((g - c) / strength, axis=1) - math.log(m))
        g = -strength * (logsumexp((f[:, None] - c) / strength, axis=0) - math.log(n))
        if np.abs(f - before).max() < 1e-13:
            break
    coupling = np.exp((f[:, None] + g - c) / strength) / (n * m)
    assert coupling.sum(1) == pytest.approx(np.full(n, 1 / n)), "it has not converged"
    divergence = (coupling * np.log(np.maximum(coupling * n * m, 1e-300))).sum()
    return float((coupling * c).sum() + strength * divergence), coupling


def exact_divergence(one: Tensor, other: Tensor, strength: float, cost: str) -> float:
    """W(one, other) - (W(one, one) + W(other, other)) / 2, each by brute force."""
    between, of_one, of_other = (
        brute_force(module().pair_costs(x, y, cost), strength)[0]
        for x, y in ((one, other), (one, one), (other, other))
    )
    return between - (of_one + of_other) / 2


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_the_cost_and_the_coupling_by_brute_force(strength: float):
    costs = module().pair_costs(*clouds(20, 14), "l1")
    cost, coupling = module().transport(costs, strength, rounds=3000)
    expected, best = brute_force(costs, strength)
    assert float(cost) == pytest.approx(expected, rel=1e-6)
    assert coupling.numpy() == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize("strength", [0.1, 1.0])
def test_the_rounds_of_a_training_come_near_and_never_above(strength: float):
    costs = module().pair_costs(*clouds(), "l1")
    expected, _ = brute_force(costs, strength)
    found = float(module().transport(costs, strength)[0])
    assert 0.99 * expected < found <= expected + 1e-9


def test_the_coupling_is_that_of_pot():
    ot = pytest.importorskip("ot")
    one, other = clouds()
    costs = module().pair_costs(one, other, "squared")
    even = np.full(20, 1 / 20)
    expected = ot.sinkhorn(even, even, costs.numpy(), 0.5, "sinkhorn_log", numItermax=10_000, stopThr=1e-12)
    assert module().transport(costs, 0.5, rounds=1000)[1].numpy() == pytest.approx(expected, abs=1e-7)


def test_the_divergence_is_that_of_geomloss():
    geomloss = pytest.importorskip("geomloss")
    one, other = clouds()
    strength = 0.5
    # Its cost at p=2 is half the squared distance too, and its blur the root of the strength.
    loss = geomloss.SamplesLoss("sinkhorn", p=2, blur=math.sqrt(strength), scaling=0.99, debias=True)
    found, _ = model(3, self_terms="same")._divergence(one, other, strength)
    assert float(found) == pytest.approx(float(loss(one, other)), rel=1e-3)


@pytest.mark.parametrize("cost", ["l1", "squared"])
def test_the_divergence_of_batches_by_brute_force(cost: str):
    found, _ = model(3, self_terms="same", cost=cost)._divergence(*clouds(), 1.0)
    assert float(found) == pytest.approx(exact_divergence(*clouds(), 1.0, cost), rel=1e-4)
    fresh, _ = model(3, self_terms="fresh", cost=cost)._divergence(*clouds(), 1.0)
    (y, y2), (x, x2) = (cloud.chunk(2) for cloud in clouds())
    costs = [
        brute_force(module().pair_costs(*pair, cost), 1.0)[0] for pair in ((y, x), (y2, x2), (y, y2), (x, x2))
    ]
    assert float(fresh) == pytest.approx((costs[0] + costs[1] - costs[2] - costs[3]) / 2, rel=1e-4)


def test_the_divergence_is_zero_at_the_same_batch_and_positive_elsewhere():
    one, _ = clouds()
    made = model(3, self_terms="same")
    assert float(made._divergence(one, one, 0.3)[0]) == 0.0
    for seed in range(20):
        assert float(made._divergence(*clouds(seed=seed), 0.3)[0]) > 0


@pytest.mark.parametrize("self_terms", ["none", "same", "fresh"])
def test_the_gradient_by_finite_differences(self_terms: str):
    """Of brute-force costs, which know nothing of the envelope theorem."""
    y, x = clouds(8, 8)
    made = model(3, self_terms=self_terms)
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(made._divergence(y, x, 1.0)[1], x)

    def exact(moved: Tensor) -> float:
        if self_terms == "same":
            return exact_divergence(y, moved, 1.0, "squared")
        if self_terms == "none":
            return brute_force(module().pair_costs(y, moved, "squared"), 1.0)[0]
        pairs = ((y[:4], moved[:4], 0.5), (y[4:], moved[4:], 0.5), (moved[:4], moved[4:], -0.5))
        return sum(sign * brute_force(module().pair_costs(a, b, "squared"), 1.0)[0] for a, b, sign in pairs)

    for row, column in ((0, 0), (3, 1), (6, 2)):
        step = torch.zeros_like(x)
        step[row, column] = 1e-4
        slope = (exact(x.detach() + step) - exact(x.detach() - step)) / 2e-4
        assert float(gradient[row, column]) == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.medium
def test_two_batches_of_one_law_are_at_no_distance_on_average():
    """What is taken off: the plain cost of one law to itself is far from 0."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for self_terms in ("none", "fresh"):
        made = model(8, self_terms=self_terms)
        each = [
            float(made._divergence(*torch.randn(2, 16, 8, generator=generator), 0.1)[0]) for _ in range(200)
        ]
        found[self_terms] = (float(np.mean(each)), float(np.std(each)) / math.sqrt(200))
    assert abs(found["fresh"][0]) < 4 * found["fresh"][1]
    assert found["none"][0] > 20 * found["none"][1]


class Loop:
    """What a training sees of the engine, and no more."""

    progress = 0.0

    def batches(self, data: Tensor, *, size: int, steps: int):
        for step in range(steps):
            self.progress = step / steps
            yield data[torch.randint(len(data), (size,))]

    def log(self, **values: Any) -> None:
        pass


@pytest.mark.medium
def test_plain_training_shrinks_the_data_and_the_divergence_does_not():
    torch.manual_seed(1)
    data = torch.randn(5000, 8)
    spread = {}
    for self_terms in ("none", "same", "fresh"):
        made = model(
            8, self_terms=self_terms, regularisation=0.1, lr=5e-3, lr_end=0.02, steps=400, batch_size=16
        )
        made.train(data, Loop())
        spread[self_terms] = float(made.sample(4000).var(0).mean())
    assert spread["fresh"] == pytest.approx(1.0, abs=0.15)
    # Nor do the self-terms of one batch help where the entropy is slight: each is paired with itself.
    assert max(spread["none"], spread["same"]) < 0.75


def test_without_potentials_the_bound_is_the_likelihood():
    """One dimension: log of the integral of p(x) f(y | x), on a fine grid."""
    strength = 0.7
    made = model(1, regularisation=strength, draws=20_000, self_terms="fresh")
    y = torch.tensor([[-1.0], [0.3], [2.0]])
    x = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    with torch.no_grad():
        centre = made.G(x.float()[:, None]).double().squeeze(1)
    joint = -(y.double() - centre).square() / (2 * strength) - x.square() / 2
    expected = joint.logsumexp(1) + math.log(float(x[1] - x[0])) - math.log(2 * math.pi * math.sqrt(strength))
    assert made.surrogate(y).bound.detach().numpy() == pytest.approx(expected.numpy(), abs=0.02)


@pytest.mark.parametrize("config", [{"dual": "semi"}, {"form": "linear"}])
def test_self_terms_where_there_are_none_are_refused(config: dict[str, str]):
    with pytest.raises(UsageError, match="self_terms=fresh"):
        model(2, self_terms="fresh", **config)
