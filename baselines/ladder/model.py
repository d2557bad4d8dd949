"""Ladder network (Rasmus et al. 2015), and the ladder network in the EBGAN framework (Zhao et al. 2016).

A classifier with noise in every layer, and a decoder that removes the noise layer by layer. Labelled images
train the classifier; all images train the decoder, which shares the classifier's layers.

Sources. Seen: the code of Rasmus et al., with its defaults and its list of commands; every number of the
ladder network comes from there. Seen of Zhao et al.: Table 2 and section 4.2, which uses the cost of the
bottom layer only, shows the generator's samples to the network, and lets the margin decay to 0. Recalled: the
section numbers of Rasmus et al. Not seen: appendix D of Zhao et al. The generator, the first margin and the
margin's schedule are therefore our own choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, relu

from ebbench import ContractError, Data, DataSpec, Labelled, Model, Run

# Added to every variance before its square root (the authors' code).
EPSILON = 1e-10
# Update rate of the running means and variances.
RUNNING = 0.02
# Up to this many labels, the weight for few labels applies: the authors' code has one for 100, one for 1000.
FEW = 500


class Ladder(Model):
    @dataclass(frozen=True)
    class Config:
        epochs: int = 150
        """Training epochs over all images (the authors' code)."""
        batch_size: int = 100
        """Images per batch, and the maximum number of labelled images beside them (the authors' code)."""
        layers: tuple[int, ...] = (1000, 500, 250, 250, 250)
        """Hidden sizes, from the image upwards (the authors' code)."""
        input_noise: float = 0.3
        """Standard deviation of the noise on a pixel in [0, 1] (the authors' code)."""
        layer_noise: float = 0.3
        """Standard deviation of the noise on each normalised unit (the authors' code)."""
        bottom_weight: float = 5000.0
        """Weight of the pixels' denoising cost with few labels (the authors' code for 100 labels)."""
        bottom_weight_many: float = 2000.0
        """The same weight with more than 500 labelled examples (the authors' code for 1000 labels)."""
        inner_weights: tuple[float, ...] = ()
        """Weights of the denoising costs of layers 1, 2, ...; layers without an entry have weight 0. Empty:
        only the bottom layer has a cost, as in Zhao et al."""
        lr: float = 2e-3
        """Adam's learning rate, also of the generator (the authors' code)."""
        falling: float = 1 / 3
        """Last share of the training, in which the learning rate decays linearly to 0 (the authors' code: the
        last third)."""
        margin: float = 0.0
        """Initial margin m, as a mean squared error per pixel in [0, 1] (our choice). 0: the plain ladder
        network, without a generator."""
        margin_until: float = 0.5
        """Share of the training after which the margin has decayed linearly to 0 (our choice; the paper only
        says that it reaches 0)."""
        z_dim: int = 100
        """Dimension of the generator's latent (our choice)."""
        generator_layers: tuple[int, ...] = (500, 500)
        """Hidden sizes of the generator (our choice)."""

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        if data.low is None or data.high is None or not data.classes:
            raise ContractError(
                f"the ladder network cannot be built for the data '{data.name}'",
                where="baselines/ladder",
                expected="values in a known range, and classes (DataSpec.low, high and classes)",
            )
        pixels = math.prod(data.shape)
        self.net = LadderNet((pixels, *config.layers, data.classes))
        if config.margin > 0:
            self.generator = generator((config.z_dim, *config.generator_layers, pixels))

    def train(self, data: Data, run: Run) -> None:
        config, net = self.config, self.net
        labels = cast(Labelled, data).labels
        which = (labels >= 0).nonzero().flatten()
        if not len(which):
            raise ContractError("no example has a label", where="baselines/ladder", expected="at least one")
        images, classes = self.scaled(data[which]), labels[which]
        bottom = config.bottom_weight if len(which) <= FEW else config.bottom_weight_many
        weights = (bottom, *config.inner_weights)
        self.optimiser = torch.optim.Adam(net.parameters(), config.lr, fused=True)
        if config.margin > 0:
            self.generator_optimiser = torch.optim.Adam(self.generator.parameters(), config.lr, fused=True)
        for batch in run.batches(data, size=config.batch_size, epochs=config.epochs):
            rate = config.lr * min(1.0, (1 - run.progress) / config.falling)
            chosen = torch.randperm(len(which), device=batch.device)[: config.batch_size]
            x = self.scaled(batch)
            supervised = cross_entropy(self.noisy(images[chosen]).logits, classes[chosen])
            costs = self.costs(x, weights)
            loss = supervised + sum(
                weight * cost.mean() for weight, cost in zip(weights, costs, strict=False) if weight
            )
            run.log(supervised=supervised, reconstruction=costs[0].mean())
            margin = config.margin * max(0.0, 1 - run.progress / config.margin_until)
            samples = None
            if margin > 0:
                # Zhao et al., equation 1: raise the energy of samples up to the margin.
                samples = self.generator(torch.randn(len(x), config.z_dim, device=x.device))
                of_samples = self.energies(samples.detach())
                loss = loss + bottom * relu(margin - of_samples).mean()
                run.log(energy_of_samples=of_samples.mean(), margin=margin)
            step(self.optimiser, loss, rate)
            if samples is not None:
                # Equation 2: the generator minimises the energy.
                step(self.generator_optimiser, self.energies(samples).mean(), rate)

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """The most probable class by the noise-free encoder, int64 (n,)."""
        return self.net.encode(self.scaled(x), running=True).logits.argmax(1)

    def scaled(self, x: Tensor) -> Tensor:
        """Flatten examples to rows and scale them to [0, 1]: (n, pixels)."""
        assert self.data.low is not None and self.data.high is not None
        return (x.flatten(1) - self.data.low) / (self.data.high - self.data.low)

    def noisy(self, x: Tensor) -> Path:
        """The noisy encoder path of rows of pixels, (n, pixels)."""
        return self.net.encode(x, input_noise=self.config.input_noise, layer_noise=self.config.layer_noise)

    def energies(self, x: Tensor) -> Tensor:
        """Mean squared error per pixel after noise, encoder and decoder, (n,): the bottom layer's cost."""
        return (self.net.decode(self.noisy(x))[0] - x).square().mean(1)

    def costs(self, x: Tensor, weights: tuple[float, ...]) -> list[Tensor]:
        """Denoising costs of a batch of unlabelled images, one tensor (n,) per layer.

        `weights` are the layers' weights. The noise-free pass also updates the running statistics.
        """
        inner = any(weights[1:])
        with torch.set_grad_enabled(inner):
            clean = self.net.encode(x, remember=True)
        if not any(weights):
            return [torch.zeros(len(x), device=x.device)]
        estimates = self.net.decode(self.noisy(x))
        return denoising_costs(clean, estimates if inner else estimates[:1])


@dataclass(frozen=True)
class Path:
    """One pass through the encoder: `z` of layers 0 to L, (n, width) each, and `logits`, (n, classes).

    `mean` and `variance`, (width,) each, are the statistics that normalised layers 1 to L; layer 0 is the
    image.
    """

    z: list[Tensor]
    mean: list[Tensor]
    variance: list[Tensor]
    logits: Tensor


class LadderNet(nn.Module):
    """The encoder and the decoder; `widths` are the sizes of layers 0 (the image) to L (the classes)."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(zip(widths, widths[1:], strict=False))
        self.up = nn.ParameterList(torch.randn(above, below) / below**0.5 for below, above in pairs)
        self.down = nn.ParameterList(torch.randn(below, above) / above**0.5 for below, above in pairs)
        self.beta = nn.ParameterList(torch.zeros(width) for width in widths[1:])
        self.gamma = nn.Parameter(torch.ones(widths[-1]))
        self.combinators = nn.ParameterList(first_combinator(width) for width in widths)
        for layer, width in enumerate(widths[1:], 1):
            self.register_buffer(f"mean_{layer}", torch.zeros(width))
            self.register_buffer(f"variance_{layer}", torch.ones(width))

    def encode(
        self,
        x: Tensor,
        *,
        input_noise: float = 0.0,
        layer_noise: float = 0.0,
        running: bool = False,
        remember: bool = False,
    ) -> Path:
        """Encode images (n, pixels), with or without noise (Rasmus et al., section 3.1).

        `running` normalises by the running statistics, not the batch's; `remember` updates them.
        """
        h = corrupted(x, input_noise)
        path = Path([h], [], [], h)
        for layer, (weight, beta) in enumerate(zip(self.up, self.beta, strict=True), 1):
            raw = linear(h, weight)
            mean, variance = getattr(self, f"mean_{layer}"), getattr(self, f"variance_{layer}")
            if not running:
                own_variance, own_mean = torch.var_mean(raw, 0, correction=0)
                if remember:
                    mean.lerp_(own_mean.detach(), RUNNING)
                    variance.lerp_(own_variance.detach(), RUNNING)
                mean, variance = own_mean, own_variance
            z = corrupted((raw - mean) / (variance + EPSILON).sqrt(), layer_noise)
            path.z.append(z)
            path.mean.append(mean)
            path.variance.append(variance)
            h = relu(z + beta)
        # The top layer has a scale of its own and no relu.
        return Path(path.z, path.mean, path.variance, self.gamma * (path.z[-1] + self.beta[-1]))

    def decode(self, path: Path) -> list[Tensor]:
        """Estimates of the clean `z` of layers 0 to L from a noisy path, top down (section 3.2)."""
        u = normalised(path.logits.softmax(1))
        estimates = [combined(path.z[-1], u, self.combinators[-1])]
        for layer in reversed(range(len(self.up))):
            u = normalised(linear(estimates[0], self.down[layer]))
            estimates.insert(0, combined(path.z[layer], u, self.combinators[layer]))
        return estimates


def combined(z: Tensor, u: Tensor, a: Tensor) -> Tensor:
    """The combinator g(z, u), unit by unit, with ten parameters `a`, (10, width).

    It is the optimal estimate of a Gaussian z whose mean and variance depend on u, the signal from the layer
    above.
    """
    mean = a[0] * torch.sigmoid(a[1] * u + a[2]) + a[3] * u + a[4]
    share = a[5] * torch.sigmoid(a[6] * u + a[7]) + a[8] * u + a[9]
    return (z - mean) * share + mean


def first_combinator(width: int) -> Tensor:
    """Initial combinator parameters, (10, width): ones for a_2 and a_7, zeros for the others."""
    first = torch.zeros(10, width)
    first[1] = first[6] = 1.0
    return first


def denoising_costs(clean: Path, estimates: list[Tensor]) -> list[Tensor]:
    """Squared error of the estimates against the clean path, averaged over units: one tensor (n,) per layer.

    Estimates above layer 0 are first normalised with the clean path's statistics.
    """
    costs = [(estimates[0] - clean.z[0]).square().mean(1)]
    for layer, estimate in enumerate(estimates[1:], 1):
        mean, variance = clean.mean[layer - 1], clean.variance[layer - 1]
        there = (estimate - mean) / (variance + EPSILON).sqrt()
        costs.append((there - clean.z[layer]).square().mean(1))
    return costs


def normalised(x: Tensor) -> Tensor:
    """Normalise each unit to mean 0 and variance 1 over the batch."""
    variance, mean = torch.var_mean(x, 0, correction=0)
    return (x - mean) / (variance + EPSILON).sqrt()


def corrupted(x: Tensor, noise: float) -> Tensor:
    """Add Gaussian noise with standard deviation `noise` to `x`."""
    return x + noise * torch.randn_like(x) if noise else x


def generator(widths: tuple[int, ...]) -> nn.Sequential:
    """An MLP with batch norm, ReLU and a final sigmoid: latents (n, z_dim) -> pixels in [0, 1]."""
    modules: list[nn.Module] = []
    for below, above in zip(widths, widths[1:], strict=False):
        modules += [nn.Linear(below, above), nn.BatchNorm1d(above), nn.ReLU()]
    return nn.Sequential(*modules[:-2], nn.Sigmoid())


def step(optimiser: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """One optimiser step at learning rate `rate`, with gradients of the optimiser's own parameters only."""
    parameters = []
    for group in optimiser.param_groups:
        group["lr"] = rate
        parameters += group["params"]
    optimiser.zero_grad()
    loss.backward(inputs=parameters)
    optimiser.step()
