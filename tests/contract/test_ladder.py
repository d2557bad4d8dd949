"""The ladder network against direct evaluation of its formulas, and its training on clusters."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from ebbench import ContractError, DataSpec
from ebbench.data.labelled import LabelledPool
from ebbench.plugins import loader
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun

CPU = torch.device("cpu")
SPEC = DataSpec(name="x", shape=(12,), low=-1.0, high=1.0, classes=3)


@pytest.fixture(scope="module")
def code() -> Any:
    import sys

    return sys.modules[loader.load("model", "ladder").cls.__module__]


def ladder(code: Any, spec: DataSpec = SPEC, **config: Any) -> Any:
    torch.manual_seed(0)
    config = {"layers": (8, 6), **config}
    model = code.Ladder(spec, code.Ladder.Config(**config))
    model.device = CPU
    return model


def randomised(model: Any) -> None:
    """Parameters away from where they start, so that no term is left out by being 0."""
    for parameter in model.net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)


def test_the_combinator_is_that_of_the_paper(code: Any):
    torch.manual_seed(1)
    z, u, a = torch.randn(5, 3), torch.randn(5, 3), torch.randn(10, 3)
    got = code.combined(z, u, a)
    for i in range(5):
        for j in range(3):
            k, b = [float(v) for v in a[:, j]], float(u[i, j])
            mu = k[0] / (1 + math.exp(-(k[1] * b + k[2]))) + k[3] * b + k[4]
            v = k[5] / (1 + math.exp(-(k[6] * b + k[7]))) + k[8] * b + k[9]
            assert float(got[i, j]) == pytest.approx((float(z[i, j]) - mu) * v + mu, abs=1e-5)
    # At the start it gives 0 whatever comes: mean and share are 0.
    assert not code.combined(z, u, code.first_combinator(3)).any()


def test_the_combinator_can_be_the_best_estimate_of_a_gaussian(code: Any):
    """Of z = mu + s e, seen with noise of deviation n, the best estimate has the share s^2 / (s^2 + n^2)."""
    torch.manual_seed(2)
    mu, s, n = 0.7, 0.5, 0.3
    z = mu + s * torch.randn(200_000, 1)
    seen = z + n * torch.randn_like(z)
    a = torch.zeros(10, 1)
    a[4], a[9] = mu, s**2 / (s**2 + n**2)
    best = float((code.combined(seen, torch.zeros_like(z), a) - z).square().mean())
    assert best == pytest.approx(s**2 * n**2 / (s**2 + n**2), rel=0.02)
    for other in (0.9, 1.1):
        worse = a.clone()
        worse[9] *= other
        assert float((code.combined(seen, torch.zeros_like(z), worse) - z).square().mean()) > best


def encoded(net: Any, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The clean path with torch's own batch norm."""
    h, z = x, [x]
    for weight, beta in zip(net.up, net.beta, strict=True):
        z.append(batch_norm(h @ weight.T, None, None, training=True, eps=1e-10))
        h = (z[-1] + beta).clamp(min=0)
    return z, net.gamma * (z[-1] + net.beta[-1])


def test_the_clean_path_is_that_of_torch_s_batch_norm_and_noise_off_is_clean(code: Any):
    model = ladder(code)
    randomised(model)
    x = torch.rand(40, 12)
    path = model.net.encode(x)
    z, logits = encoded(model.net, x)
    for ours, theirs in zip(path.z, z, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert torch.allclose(path.logits, logits, atol=1e-4)
    quiet = ladder(code, input_noise=0.0, layer_noise=0.0)
    quiet.net.load_state_dict(model.net.state_dict())
    assert torch.equal(quiet.noisy(x).logits, path.logits)
    assert not torch.allclose(model.noisy(x).logits, path.logits, atol=1e-2)


def test_the_decoder_and_the_costs_by_hand(code: Any):
    model = ladder(code, inner_weights=(1.0, 1.0, 1.0))
    randomised(model)
    net, x = model.net, torch.rand(40, 12)
    clean, noisy = net.encode(x), model.noisy(x)
    estimates = net.decode(noisy)

    def norm(u: Tensor) -> Tensor:
        return batch_norm(u, None, None, training=True, eps=1e-10)

    top = code.combined(noisy.z[3], norm(torch.softmax(noisy.logits, 1)), net.combinators[3])
    second = code.combined(noisy.z[2], norm(top @ net.down[2].T), net.combinators[2])
    first = code.combined(noisy.z[1], norm(second @ net.down[1].T), net.combinators[1])
    image = code.combined(noisy.z[0], norm(first @ net.down[0].T), net.combinators[0])
    for ours, theirs in zip(estimates, (image, first, second, top), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-3)
    costs = code.denoising_costs(clean, estimates)
    assert torch.allclose(costs[0], ((image - x) ** 2).mean(1), atol=1e-3)
    raw = x @ net.up[0].T
    there = (first - raw.mean(0)) / raw.std(0, correction=0)
    assert torch.allclose(costs[1], ((there - norm(raw)) ** 2).mean(1), atol=1e-3)
    # An estimate that is the clean value before it was normalised costs nothing.
    exact = [
        clean.z[0],
        *(z * v.sqrt() + m for z, m, v in zip(clean.z[1:], clean.mean, clean.variance, strict=True)),
    ]
    assert all(float(cost.detach().max()) < 1e-6 for cost in code.denoising_costs(clean, exact))


def test_the_class_is_the_largest_of_the_clean_path_and_of_each_image_alone(code: Any):
    model = ladder(code)
    randomised(model)
    x = torch.rand(50, 12) * 2 - 1
    for _ in range(600):
        model.net.encode((x + 1) / 2, remember=True)
    named = model.classify(x)
    assert torch.equal(named, model.net.encode((x + 1) / 2).logits.argmax(1))
    assert named.dtype == torch.int64 and set(named.tolist()) <= {0, 1, 2}
    assert torch.equal(torch.cat([model.classify(one) for one in x.split(1)]), named)


def clusters(labels: int, n: int = 600) -> tuple[Tensor, Tensor]:
    """Three clusters in 12 dimensions; the first `labels` points have a label, each class in turn."""
    generator = torch.Generator().manual_seed(5)
    classes = torch.arange(n) % 3
    centres = torch.rand(3, 12, generator=generator) - 0.5
    x = (centres[classes] + 0.15 * torch.randn(n, 12, generator=generator)).clamp(-1, 1)
    known = torch.where(torch.arange(n) < labels, classes, -1)
    return x, known


def trained(code: Any, folder: Path, labels: Tensor, x: Tensor, **config: Any) -> Any:
    model = ladder(code, batch_size=50, **config)
    run = TrainingRun(model, folder, seed=0, device=CPU, stop=StopRequest(), reporter=Reporter())
    model.train(LabelledPool(x, labels, SPEC, CPU), run)
    model.run = run
    return model


@pytest.mark.medium
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_it_learns_clusters_from_five_labels_each(code: Any, tmp_path: Path, margin: float):
    x, known = clusters(15)
    model = trained(code, tmp_path, known, x, epochs=15, margin=margin, bottom_weight=50.0)
    wrong = (model.classify(x) != torch.arange(len(x)) % 3).double().mean()
    assert wrong < 0.05
    assert ("energy_of_samples" in model.run.curves.series) == bool(margin)


def test_the_margin_falls_to_zero_and_then_no_sample_is_drawn(code: Any, tmp_path: Path):
    x, known = clusters(3)
    model = trained(code, tmp_path, known, x, epochs=10, margin=0.4, margin_until=0.5)
    series = model.run.curves.series["margin"]
    there = [value for value in series if value is not None]
    steps = len(series)
    assert there == sorted(there, reverse=True) and there[0] <= 0.4 and there[-1] < 0.02
    assert all(value is None for value in series[steps // 2 + 1 :])


def test_an_unlabelled_image_trains_the_decoder_and_says_nothing_of_its_class(code: Any, tmp_path: Path):
    """The same images with another digit behind those that have no label: the same training."""
    x, known = clusters(30)
    one = trained(code, tmp_path / "a", known, x, epochs=2)
    two = trained(code, tmp_path / "b", known.clone(), x, epochs=2)
    for a, b in zip(one.net.parameters(), two.net.parameters(), strict=True):
        assert torch.equal(a, b)
    # Without the denoising cost the unlabelled images are not used at all, but for the running statistics.
    far = x.clone()
    far[known < 0] *= -0.5
    alone = {"epochs": 2, "bottom_weight": 0.0}
    three, four = (trained(code, tmp_path / n, known, v, **alone) for n, v in (("c", x), ("d", far)))
    for a, b in zip(three.net.parameters(), four.net.parameters(), strict=True):
        assert torch.equal(a, b)
    five = trained(code, tmp_path / "e", known, far, epochs=2)
    assert any(
        not torch.equal(a, b) for a, b in zip(one.net.parameters(), five.net.parameters(), strict=True)
    )


def test_what_it_cannot_learn_from_is_an_error(code: Any, tmp_path: Path):
    x, known = clusters(3)
    with pytest.raises(ContractError, match="no example has a label"):
        trained(code, tmp_path, torch.full_like(known, -1), x, epochs=1)
    for spec in (dataclasses.replace(SPEC, classes=0), dataclasses.replace(SPEC, low=None)):
        with pytest.raises(ContractError, match="cannot be built"):
            ladder(code, spec)
