"""Building blocks against closed forms and brute force."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ebbench.contract import DataSpec
from ebbench.errors import ContractError, UsageError
from ebbench.nn.average import averaged, refresh_batch_norm, update_average
from ebbench.nn.langevin import metropolis_adjusted_langevin, unadjusted_langevin
from ebbench.nn.mlp import mlp
from ebbench.nn.nets import generator, initialise, trunk
from ebbench.nn.noise import noise_of
from ebbench.nn.penalty import squared_gradient_norm, two_sided_penalty
from ebbench.nn.rate import cosine, linear
from ebbench.nn.residual import residual_nets
from ebbench.nn.standard import standard_generator


def quadratic(x: torch.Tensor) -> torch.Tensor:
    return 3 * x.flatten(1).square().sum(1) / 2


def test_squared_gradient_norm_of_a_quadratic():
    x = torch.randn(5, 2, 3, 3)
    values, squares = squared_gradient_norm(quadratic, x)
    assert torch.allclose(values, quadratic(x))
    assert torch.allclose(squares, 9 * x.flatten(1).square().sum(1))


def test_the_channelwise_slip_is_the_full_norm_over_the_pixels():
    x = torch.randn(5, 2, 3, 4)
    _, full = squared_gradient_norm(quadratic, x)
    _, slip = squared_gradient_norm(quadratic, x, norm="channelwise")
    assert slip.shape == (5, 3, 4)
    # protocols.md, pitfall 3: the effective weight is the nominal one over H * W.
    assert slip.mean().item() == pytest.approx(full.mean().item() / 12, rel=1e-5)


def test_the_penalty_trains_the_energy():
    # d/dw of mean |grad (w x)|^2 = d/dw w^2 = 2w: needs the gradient's own graph.
    weight = torch.tensor(1.5, requires_grad=True)
    _, squares = squared_gradient_norm(lambda x: (weight * x).sum(1), torch.randn(4, 1))
    squares.mean().backward()
    assert weight.grad.item() == pytest.approx(3.0)


def test_norms_for_scoring_carry_no_graph():
    weight = torch.tensor(1.5, requires_grad=True)
    x = torch.randn(4, 1)
    _, squares = squared_gradient_norm(lambda x: (weight * x.square()).sum(1), x, backward=False)
    assert not squares.requires_grad
    assert torch.allclose(squares, 9 * x.square().squeeze(1))


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.0), (3.0, 4.0), (0.0, 1.0)])
def test_two_sided_penalty_of_a_linear_critic(slope: float, expected: float):
    real, fake = torch.randn(8, 4), torch.randn(8, 4)
    direction = torch.tensor([0.6, 0.0, 0.8, 0.0])
    penalty = two_sided_penalty(lambda x: slope * (x @ direction), real, fake)
    assert penalty.item() == pytest.approx(expected, abs=1e-5)


def test_two_sided_penalty_looks_between_real_and_fake():
    seen = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    real, fake = torch.ones(200, 3, 2), -torch.ones(200, 3, 2)
    two_sided_penalty(critic, real, fake)
    two_sided_penalty(critic, real, fake, epsilon="element")
    per_sample, per_element = seen
    assert (per_sample.abs() <= 1).all() and per_sample.flatten(1).std(1).max() < 1e-6
    assert per_element.flatten(1).std(1).min() > 0.01
    assert per_sample[:, 0, 0].mean().abs() < 0.2


def test_averages_follow_and_batch_norm_is_measured_anew():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = averaged(net)
    before = average[0].weight.clone()
    with torch.no_grad():
        net[0].weight += 1
    update_average(average, net, 0.25)
    assert torch.allclose(average[0].weight, before + 0.25)
    assert not any(p.requires_grad for p in average.parameters())
    inputs: list[torch.Tensor] = []

    def draw(n: int) -> torch.Tensor:
        inputs.append(5 + 2 * torch.randn(n, 2))
        return inputs[-1]

    refresh_batch_norm(average, draw)
    hidden = average[0](torch.cat(inputs))
    assert torch.allclose(average[1].running_mean, hidden.mean(0), atol=1e-4)
    assert torch.allclose(average[1].running_var, hidden.var(0), rtol=1e-2)


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 28, 28), (3, 32, 32), (7,)])
@pytest.mark.parametrize("kernel", [4, 5])
def test_nets_fit_the_shape_of_the_data(shape, kernel):
    data = DataSpec(name="x", shape=shape)
    net = generator(data, 6, width=4, kernel=kernel, layers=(8, 9))
    out = net(torch.randn(2, 6))
    assert out.shape == (2, *shape)
    features, n = trunk(data, width=4, kernel=kernel, layers=(8, 9))
    assert features(out).shape == (2, n)


def test_the_generators_maps_are_as_wide_as_asked():
    data = DataSpec(name="x", shape=(3, 28, 28))
    net = generator(data, 6, width=4, kernel=4, layers=(), maps=(11, 9, 7, 5))
    widths = [layer.in_channels for layer in net.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert widths == [11, 9, 7, 5]
    assert net(torch.randn(2, 6)).shape == (2, 3, 28, 28)
    with pytest.raises(UsageError, match="2 maps"):
        generator(data, 6, width=4, kernel=4, layers=(), maps=(8, 4))


def test_the_published_sizes():
    # MEG's energy on StackedMNIST: 5x5 convolutions of 64 to 512 channels and a linear map from 2,048.
    data = DataSpec(name="x", shape=(3, 28, 28))
    features, n = trunk(data, width=64, kernel=5, layers=())
    assert n == 2048
    widths = [3, 64, 128, 256, 512]
    expected = sum(25 * a * b + b for a, b in zip(widths, widths[1:], strict=False))
    assert sum(p.numel() for p in features.parameters()) == expected
    cifar, n = trunk(DataSpec(name="x", shape=(3, 32, 32)), width=64, kernel=5, layers=())
    assert n == 8192 and sum(isinstance(m, nn.Conv2d) for m in cifar.modules()) == 7


# Miyato et al. 2018, Table 3a: the maps on the way to 32x32; at 28x28 what halving from there gives.
@pytest.mark.parametrize(
    ("side", "maps"),
    [(32, [(256, 8), (128, 16), (64, 32), (3, 32)]), (28, [(128, 14), (64, 28), (3, 28)])],
)
def test_the_standard_generator_has_the_published_maps(side: int, maps: list[tuple[int, int]]):
    net = standard_generator(DataSpec(name="x", shape=(3, side, side)), 128, width=64, layers=())
    seen: list[tuple[int, int]] = []
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:3])))
    images = net(50 * torch.randn(2, 128))
    assert seen == maps
    assert images.shape == (2, 3, side, side) and images.abs().max() <= 1


def test_a_shape_without_a_net_is_said():
    with pytest.raises(ContractError, match=r"\(3, 17, 17\)"):
        trunk(DataSpec(name="x", shape=(3, 17, 17)), width=4, kernel=4, layers=())


def test_he_initialisation_keeps_the_scale_of_activations():
    torch.manual_seed(0)
    net = initialise(mlp([400, 400, 400, 400], nn.ReLU()), 0.0)
    x = torch.randn(500, 400)
    # He et al. 2015: the second moment of each pre-activation is that of the input, times 2 ...
    assert net[0](x).square().mean().item() == pytest.approx(2.0, rel=0.1)
    # ... and the last layer, drawn without the factor, gives back the second moment of what it sees.
    hidden = net[:-1](x)
    assert net[-1](hidden).square().mean().item() == pytest.approx(hidden.square().mean().item(), rel=0.1)


def gaussian(mean: torch.Tensor, std: torch.Tensor):
    return lambda x: -(((x - mean) / std) ** 2).sum(1) / 2


def test_mala_samples_a_gaussian_to_its_moments():
    torch.manual_seed(0)
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.0])
    chains = metropolis_adjusted_langevin(
        gaussian(mean, std), torch.zeros(20_000, 2), steps=150, step_size=0.1
    )
    # Standard errors at 20,000 independent chains: .007 of the mean, .5 % of the deviation.
    assert torch.allclose(chains.state.mean(0), mean, atol=0.03)
    assert torch.allclose(chains.state.std(0), std, rtol=0.02)
    assert 0.8 < chains.acceptance.item() < 1.0


def test_mala_is_in_detailed_balance_where_langevin_alone_is_not():
    # A step far too long: the unadjusted chain settles on std * sqrt(1 / (1 - h / 2 std^2)), a closed
    # form for the Gaussian; the adjusted one stays on the target.
    torch.manual_seed(0)
    mean, std, step = torch.zeros(1), torch.ones(1), 0.8
    start = torch.randn(40_000, 1)
    raw = unadjusted_langevin(gaussian(mean, std), start, steps=60, step_size=step).state
    adjusted = metropolis_adjusted_langevin(gaussian(mean, std), start, steps=60, step_size=step).state
    assert raw.std().item() == pytest.approx(1 / math.sqrt(1 - step / 2), rel=0.02)
    assert adjusted.std().item() == pytest.approx(1.0, rel=0.02)
    inexact = metropolis_adjusted_langevin(
        gaussian(mean, std), start, steps=60, step_size=step, exact=False
    ).state
    assert abs(inexact.std().item() - 1.0) > 0.02


def test_the_rate_comes_down_on_half_a_cosine():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=9.0)
    rates = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        cosine(2.0, 0.1, progress, optimiser)
        rates.append(optimiser.param_groups[0]["lr"])
    middle = 0.2 + 1.8 * (1 + math.sqrt(0.5)) / 2
    assert rates == pytest.approx([2.0, middle, 1.1, 0.2])
    cosine(2.0, 1.0, 0.7, optimiser)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(2.0), "an end of 1 is a constant rate"
    linear(2.0, 0.1, 0.25, optimiser)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(2.0 - 1.8 / 4)


def test_residual_nets_are_of_the_published_size():
    """Weights counted by hand from the tables of Miyato et al. (2018): 256 channels up, 128 down."""
    data = DataSpec(name="x", shape=(3, 32, 32), low=-1.0, high=1.0)
    features, made = residual_nets(data, 128, width=128, generator_width=256, pool="sum")

    def convolution(of: int, to: int, side: int) -> int:
        return of * to * side**2 + to

    up = 2 * 2 * 256 + 2 * convolution(256, 256, 3) + convolution(256, 256, 1)
    first = 128 * 16 * 256 + 16 * 256
    assert sum(p.numel() for p in made.parameters()) == first + 3 * up + 2 * 256 + convolution(256, 3, 3)
    same = 2 * convolution(128, 128, 3)
    begin = convolution(3, 128, 3) + convolution(128, 128, 3) + convolution(3, 128, 1)
    halved = same + convolution(128, 128, 1)
    assert sum(p.numel() for p in features.parameters()) == begin + halved + 2 * same
    assert made(torch.randn(2, 128)).shape == (2, 3, 32, 32)
    x = torch.randn(2, 3, 32, 32)
    assert features(x).shape == (2, 128)
    averaged = residual_nets(data, 128, width=128, generator_width=256, pool="mean")[0]
    averaged.load_state_dict(features.state_dict())
    # The last map is 8x8.
    assert torch.allclose(averaged(x) * 64, features(x), rtol=1e-4, atol=1e-4)


def test_noise_for_a_score_belongs_to_its_example():
    x = torch.randn(3, 2)
    made = noise_of(x, 4000, 5)
    assert made.shape == (4000, 3, 5)
    assert torch.equal(noise_of(x[1:2], 4000, 5)[:, 0], made[:, 1])
    shares = torch.corrcoef(made.permute(1, 2, 0).reshape(15, 4000))
    assert (shares - torch.eye(15)).abs().max() < 0.08, "independent between examples and axes"
    assert made.mean().abs() < 0.02 and (made.std() - 1).abs() < 0.02
