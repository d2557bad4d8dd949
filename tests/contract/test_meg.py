"""MEG's bounds of the mutual information against their closed forms, and its ablations."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm
from torch.nn.functional import cross_entropy

from ebbench.contract import DataSpec
from ebbench.errors import UsageError
from ebbench.plugins import loader
from ebbench.plugins.budgets import budget_values

CORRELATION = 0.8
# Of two standard normals so correlated.
INFORMATION = -math.log(1 - CORRELATION**2) / 2

meg = sys.modules[loader.load("model", "meg").cls.__module__]


def ideal(x: torch.Tensor, z: torch.Tensor, rho: float = CORRELATION) -> torch.Tensor:
    """The best critic: log p(x, z) - log p(x) p(z)."""
    squares = (x**2 - 2 * rho * x * z + z**2) / (1 - rho**2)
    return (x**2 + z**2 - squares) / 2 - math.log(1 - rho**2) / 2


def values(candidates: int, n: int = 200_000, rho: float = CORRELATION) -> torch.Tensor:
    """The best critic on true pairs (row 0) and on pairs with latents drawn anew, (candidates, n)."""
    torch.manual_seed(0)
    z = torch.randn(candidates, n, dtype=torch.float64)
    x = rho * z[0] + math.sqrt(1 - rho**2) * torch.randn(n, dtype=torch.float64)
    return ideal(x.expand_as(z), z, rho)


def test_donsker_varadhan_reaches_the_mutual_information():
    found = values(2)
    assert meg.donsker_varadhan(found).item() == pytest.approx(INFORMATION, abs=0.02)
    assert meg.donsker_varadhan(found + 5).item() == pytest.approx(INFORMATION, abs=0.02)
    assert meg.donsker_varadhan(found / 2).item() < INFORMATION - 0.05, "any other critic gives less"


def test_jensen_shannon_reaches_its_divergence():
    """The Jensen-Shannon divergence of the joint law to the product, by integration over the plane."""
    axis = np.linspace(-8, 8, 801)
    x, z = np.meshgrid(axis, axis)
    joint = multivariate_normal([0, 0], [[1, CORRELATION], [CORRELATION, 1]]).pdf(np.stack([x, z], 2))
    product = norm.pdf(x) * norm.pdf(z)
    middle = (joint + product) / 2

    def kl(p: np.ndarray) -> float:
        seen = p > 1e-300
        return float((p[seen] * np.log(p[seen] / middle[seen])).sum()) * (axis[1] - axis[0]) ** 2

    divergence = (kl(joint) + kl(product)) / 2
    found = values(2)
    assert meg.jensen_shannon(found).item() == pytest.approx(2 * divergence - math.log(4), abs=0.01)
    assert meg.jensen_shannon(2 * found) < meg.jensen_shannon(found)


def test_infonce_is_under_the_information_and_under_the_logarithm_of_its_candidates():
    few, many = (meg.info_nce(values(k, n=4000)).item() for k in (3, 400))
    assert few < many <= INFORMATION + 0.02
    assert many == pytest.approx(INFORMATION, abs=0.03)
    # 6.6 nats, of which eight candidates can show no more than log 8.
    sharp = meg.info_nce(values(8, rho=1 - 1e-6)).item()
    assert math.log(8) - 0.1 < sharp < math.log(8)


def test_infonce_is_the_cross_entropy_of_the_true_candidate():
    logits = torch.randn(5, 7)
    expected = math.log(5) - cross_entropy(logits.T, torch.zeros(7, dtype=torch.long))
    assert meg.info_nce(logits).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_moving_mean_takes_the_bias_out_of_the_gradient():
    """T = a u, u ~ N(0, 1): the gradient of log E[exp T] in a is a. Four draws a batch show the bias."""
    torch.manual_seed(0)
    a = 1.0
    u = torch.randn(4, 100_000, dtype=torch.float64)

    def mean_gradient(log_mean: torch.Tensor | None) -> float:
        slope = torch.full((100_000,), a, dtype=torch.float64, requires_grad=True)
        batches = slope * u
        zero = torch.zeros(1, 100_000, dtype=torch.float64)
        bound = torch.func.vmap(lambda column: meg.donsker_varadhan(column[:, None], log_mean), in_dims=1)(
            torch.cat([zero, batches])
        )
        (gradient,) = torch.autograd.grad(-bound.sum(), slope)
        return float(gradient.mean())

    assert mean_gradient(None) < a - 0.15
    assert mean_gradient(torch.tensor(a**2 / 2)) == pytest.approx(a, abs=0.03)


def test_the_correction_leaves_the_value():
    found = torch.randn(3, 50)
    plain, corrected = meg.donsker_varadhan(found), meg.donsker_varadhan(found, torch.tensor(3.0))
    assert plain.item() == pytest.approx(corrected.item(), abs=1e-6)


def test_the_moving_mean_is_the_recursion():
    batches = torch.randn(6, 1, 40, dtype=torch.float64)
    moving = meg.MovingMean(0.1).double()
    expected = float(batches[0].exp().mean())
    for index, batch in enumerate(batches):
        if index:
            expected = 0.9 * expected + 0.1 * float(batch.exp().mean())
        assert moving.update(batch).item() == pytest.approx(math.log(expected))


def build(variant: str = "", **config: Any) -> Any:
    plugin = loader.load("model", "meg")
    torch.manual_seed(0)
    values = budget_values(plugin, "smoke", "toy2d", variant)
    made = plugin.cls(DataSpec(name="x", shape=(2,)), plugin.cls.Config(**values | config))
    made.device = torch.device("cpu")
    return made


class Steps:
    """A run of a few steps, without an engine."""

    def __init__(self, steps: int) -> None:
        self.steps, self.progress, self.logged = steps, 0.0, []

    def captured(self, step: Any) -> Any:
        return step

    def batches(self, data: Any, size: int, **_: Any) -> Any:
        for step in range(self.steps):
            self.progress = step / self.steps
            yield data[torch.randint(len(data), (size,))]

    def log(self, **numbers: Any) -> None:
        self.logged.append(
            {name: float(torch.as_tensor(number).detach()) for name, number in numbers.items()}
        )


class Points:
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.values = torch.randn(2000, 2) * torch.tensor([0.5, 0.2])

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: torch.Tensor) -> torch.Tensor:
        return self.values[index]


def weights(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()]).clone()


@pytest.mark.parametrize(
    ("variant", "entropy", "penalised"),
    [
        ("", True, True),
        ("no-entropy", False, True),
        ("donsker-varadhan", True, True),
        ("infonce", True, True),
        ("no-score-matching", True, False),
    ],
)
def test_each_ablation_takes_its_term_and_no_other(variant: str, entropy: bool, penalised: bool):
    model = build(variant, calibration_size=100)
    before = weights(model.H), weights(model.G), weights(model.E)
    run = Steps(4)
    model.train(Points(), run)
    moved = [
        bool((weights(net) != old).any())
        for net, old in zip((model.H, model.G, model.E), before, strict=True)
    ]
    assert moved == [entropy, True, True]
    assert all((step["information"] != 0) == entropy for step in run.logged)
    assert all((step["penalty"] != 0) == penalised for step in run.logged)


@pytest.mark.medium
def test_without_the_entropy_term_the_samples_collapse():
    data, spread = Points(), {}
    for variant in ("", "no-entropy"):
        model = build(variant, calibration_size=100)
        model.train(data, Steps(300))
        spread[variant] = float(model.sample(1000).std(0).prod())
    truth = float(data.values.std(0).prod())
    assert spread[""] > truth / 3
    assert spread["no-entropy"] < spread[""] / 3


def test_the_candidates_are_the_latents_of_the_batch():
    model = build("infonce", batch_size=6, candidates=3)
    seen: list[torch.Tensor] = []
    model.H.register_forward_hook(lambda _, given, __: seen.append(given[1]))
    z = torch.randn(6, 2)
    model._information(torch.randn(6, 2), z)
    assert torch.equal(seen[0], torch.stack([z, z.roll(1, 0), z.roll(2, 0)]))
    with pytest.raises(UsageError, match="candidates=7"):
        build("infonce", batch_size=6, candidates=7)


def test_images_and_candidates_are_joined_pair_by_pair():
    features = torch.nn.Flatten()
    joined = meg.MutualInformation(features, 12, 4, 8)
    x, candidates = torch.randn(5, 3, 2, 2), torch.randn(3, 5, 4)
    values = joined(x, candidates)
    for k in range(3):
        for i in range(5):
            pair = torch.cat([joined.to_z(x[i].flatten()), candidates[k, i]])
            assert torch.allclose(values[k, i], joined.join(pair)[0], atol=1e-6)


def test_isir_s_chains_follow_the_calibrated_energy():
    """An energy that likes the right half three times as much as the left, of a generator that is even."""
    model = build(z_dim=2)
    model.G_average = torch.nn.Identity()
    model.energy_of = lambda x: -math.log(3) * (x[:, 0] > 0) + 0 * x.sum(1)
    with torch.no_grad():
        model.calibration.scale.fill_(2.0)
    torch.manual_seed(0)
    for calibrated, odds in ((False, 3), (True, 9)):
        x = model.isir(4000, steps=25, proposals=10, local_steps=1, calibrated=calibrated)
        assert float((x[:, 0] > 0).float().mean()) == pytest.approx(odds / (1 + odds), abs=0.025)
        assert {"acceptance", "local_acceptance", "effective_share"} <= set(model.diagnostics)
