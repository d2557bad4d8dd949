"""Fully connected nets: layers, weights, and that GAN's discriminator sees how bright a batch is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ebbench.contract import DataSpec
from ebbench.nn.dense import dense, draw_weights, optimiser, shaped
from ebbench.plugins import loader

IMAGES = DataSpec(name="x", shape=(1, 28, 28), low=-1.0, high=1.0)


def kinds(layers: list[nn.Module]) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def test_layers_are_in_order_and_sized():
    layers = dense([7, 5, 3], batch_norm=True, dropout=0.5)
    assert kinds(layers) == ["Linear", "BatchNorm1d", "ReLU", "Dropout"] * 2
    assert nn.Sequential(*layers)(torch.randn(4, 7)).shape == (4, 3)
    assert kinds(dense([7, 5], batch_norm=False)) == ["Linear", "ReLU"]


def test_what_has_a_range_is_bounded_and_shaped():
    made = shaped([nn.Linear(4, 784)], IMAGES)(1000 * torch.randn(3, 4))
    assert made.shape == (3, 1, 28, 28) and made.abs().max() <= 1
    free = shaped([nn.Linear(4, 6)], DataSpec(name="x", shape=(6,)))
    assert kinds(list(free)) == ["Linear", "Unflatten"]


def test_weights_are_drawn_at_the_deviation():
    net = nn.Sequential(*dense([500, 400], batch_norm=True))
    draw_weights(net, 0.02)
    assert abs(float(net[0].weight.detach().std()) / 0.02 - 1) < 0.02 and not net[0].bias.any()


def test_both_optimisers_descend():
    for name in ("adam", "sgd"):
        weight = nn.Parameter(torch.ones(3))
        step = optimiser(name, [weight], 0.1, (0.5, 0.999))
        weight.square().sum().backward()
        step.step()
        assert (weight < 1).all()
    # Plain descent: w - lr * 2 w.
    assert torch.allclose(weight, torch.full((3,), 0.8))


def gan(**config: Any) -> Any:
    torch.manual_seed(0)
    cls = loader.load("model", "gan").cls
    return cls(IMAGES, cls.Config(nets="dense", layers=(32, 16), generator_layers=(8, 8), **config))


def test_the_dense_gan_has_the_published_weights_and_its_knobs():
    model = gan(dropout=0.5)
    first, last = model.D[1], model.D[-1]
    assert abs(float(first.weight.detach().std()) / 0.002 - 1) < 0.05 and last.out_features == 1
    assert abs(float(model.G[-3].weight.detach().std()) / 0.02 - 1) < 0.05
    assert kinds(list(model.D)).count("Dropout") == 2 and "Dropout" not in kinds(list(model.G))
    plain = gan(batch_norm=False)
    assert not any(isinstance(part, nn.BatchNorm1d) for net in (plain.D, plain.G) for part in net.modules())


def test_the_discriminator_sees_how_bright_a_batch_is():
    """Batch norm on its first layer would take any constant away from a batch, and the GAN stays grey."""
    model = gan()
    model.device = torch.device("cpu")
    # Bring the first layer to life: at 0.002 all is near zero.
    draw_weights(model.D, 0.05)
    x = torch.rand(64, 1, 28, 28) - 0.5
    hidden = model.D[:3]
    dark, bright = hidden(x), hidden(x + 0.5)
    assert not torch.allclose(dark, bright, atol=1e-2)
    kept = nn.Sequential(nn.Flatten(), *dense([784, 32], batch_norm=True))
    assert torch.allclose(kept(x), kept(x + 0.5), atol=1e-3)


def test_ebgan_s_dropout_is_in_the_encoder_alone():
    cls = loader.load("model", "ebgan").cls
    model = cls(IMAGES, cls.Config(dropout=0.5, encoder_layers=(8, 8), generator_layers=(8,)))
    found = [
        name
        for name in ("encoder", "decoder", "G")
        if "Dropout" in map(_kind, getattr(model, name).modules())
    ]
    assert found == ["encoder"]


def _kind(part: nn.Module) -> str:
    return type(part).__name__
