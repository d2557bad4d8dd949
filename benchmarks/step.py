"""Time the steps of four methods on 3-StackedMNIST: a plain script of each against our model.

    python benchmarks/step.py [--width 64] [--batch 64] [--critic-steps 5] [--steps 10] [--repeats 3]

The sizes are the published ones. The plain script does what the released codes do: a DataLoader that stacks
three digits an example, nets in torch's own layout, Adam as it comes, a pass of the critic for the data and
one for the samples, the losses fetched each step. Ours is the model's own `train` under the engine. The two
do the same arithmetic and take turns; the ratio is that of their fastest turns. On a GPU ours takes two
turns, as it is ("eager") and as a CUDA graph ("captured"). SN-GAN and EBGAN have no plain script: theirs are
the two of ours alone, which on a CPU say nothing. The last line of each is its rate of operations as a share
of what a convolution of the critic reaches alone on the same machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from paper_hours import Operations
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, Dataset

from ebbench.contract import DataSpec
from ebbench.data.pool import Pool
from ebbench.plugins import introspection, loader
from ebbench.running import capture, seeds
from ebbench.running.progress import Reporter
from ebbench.running.signals import StopRequest
from ebbench.running.training import TrainingRun

SPEC = DataSpec(name="noise", shape=(3, 28, 28), low=-1.0, high=1.0)


class Stacks(Dataset[Tensor]):
    """Images of three stacked digits (here noise), new ones for each batch."""

    def __init__(self, digits: Tensor, length: int) -> None:
        self.digits, self.length = digits, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        return self.digits[torch.randint(len(self.digits), (3,))]


def critic_net(width: int, out: int = 1) -> nn.Sequential:
    """Four 5x5 convolutions of stride 2 and a linear layer."""
    layers: list[nn.Module] = []
    before = 3
    for wide in (width, 2 * width, 4 * width, 8 * width):
        layers += [nn.Conv2d(before, wide, 5, 2, 2), nn.LeakyReLU(0.2)]
        before = wide
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * width, out))


def generator_net(z_dim: int, width: int) -> nn.Sequential:
    """A linear layer and four transposed 5x5 convolutions: 2, 4, 7, 14, 28."""
    layers: list[nn.Module] = [nn.Linear(z_dim, 32 * width), nn.Unflatten(1, (8 * width, 2, 2))]
    before = 8 * width
    for wide, extra in ((4 * width, 1), (2 * width, 0), (width, 1), (3, 1)):
        layers += [nn.BatchNorm2d(before), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(before, wide, 5, 2, 2, output_padding=extra))
        before = wide
    return nn.Sequential(*layers, nn.Tanh())


class PlainWGANGP:
    """A plain script of WGAN-GP."""

    def __init__(self, width: int, z_dim: int, device: torch.device) -> None:
        self.z_dim, self.device = z_dim, device
        self.D, self.G = critic_net(width).to(device), generator_net(z_dim, width).to(device)
        self.opt_D = torch.optim.Adam(self.D.parameters(), 1e-4, (0.5, 0.9))
        self.opt_G = torch.optim.Adam(self.G.parameters(), 1e-4, (0.5, 0.9))

    def step(self, batches: Iterator[Tensor], critic_steps: int) -> dict[str, float]:
        for _ in range(critic_steps):
            x = next(batches).to(self.device)
            fake = self.G(torch.randn(len(x), self.z_dim, device=self.device)).detach()
            mix = torch.rand(len(x), 1, 1, 1, device=self.device)
            between = (mix * x + (1 - mix) * fake).requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.D(between).sum(), between, create_graph=True)
            penalty = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
            loss = self.D(fake).mean() - self.D(x).mean() + 10 * penalty
            self.opt_D.zero_grad()
            loss.backward()
            self.opt_D.step()
        loss_G = -self.D(self.G(torch.randn(len(x), self.z_dim, device=self.device))).mean()
        self.opt_G.zero_grad()
        loss_G.backward()
        self.opt_G.step()
        return {"critic": loss.item(), "generator": loss_G.item()}


class PlainMEG:
    """A plain script of MEG."""

    def __init__(self, width: int, z_dim: int, device: torch.device) -> None:
        self.z_dim, self.device = z_dim, device
        self.E, self.G = critic_net(width).to(device), generator_net(z_dim, width).to(device)
        self.H = critic_net(width, z_dim).to(device)
        self.join = nn.Sequential(nn.Linear(2 * z_dim, 512), nn.LeakyReLU(0.2), nn.Linear(512, 1)).to(device)
        self.opt_E = torch.optim.Adam(self.E.parameters(), 1e-4, (0.5, 0.9))
        self.opt_G = torch.optim.Adam(self.G.parameters(), 1e-4, (0.5, 0.9))
        mutual = [*self.H.parameters(), *self.join.parameters()]
        self.opt_H = torch.optim.Adam(mutual, 1e-4, (0.5, 0.9))

    def step(self, batches: Iterator[Tensor], critic_steps: int) -> dict[str, float]:
        for _ in range(critic_steps):
            x = next(batches).to(self.device).requires_grad_(True)
            fake = self.G(torch.randn(len(x), self.z_dim, device=self.device)).detach()
            real_energy, fake_energy = self.E(x), self.E(fake)
            (gradient,) = torch.autograd.grad(real_energy.sum(), x, create_graph=True)
            penalty = (gradient**2).sum(1).mean()
            loss = real_energy.mean() - fake_energy.mean() + 10 * penalty
            self.opt_E.zero_grad()
            loss.backward()
            self.opt_E.step()
        z = torch.randn(len(x), self.z_dim, device=self.device)
        fake = self.G(z)
        self.opt_G.zero_grad()
        self.opt_H.zero_grad()
        energy = self.E(fake).mean()
        energy.backward(retain_graph=True)
        h, other = self.H(fake), z[torch.randperm(len(z), device=self.device)]
        pairs = torch.cat([torch.cat([h, z], 1), torch.cat([h, other], 1)])
        label = torch.cat([torch.ones(len(z), 1), torch.zeros(len(z), 1)]).to(self.device)
        cross_entropy = binary_cross_entropy_with_logits(self.join(pairs), label)
        cross_entropy.backward()
        self.opt_G.step()
        self.opt_H.step()
        return {"energy": loss.item(), "generator": energy.item(), "H": cross_entropy.item()}


PLAIN = {"wgan-gp": PlainWGANGP, "meg": PlainMEG}
ON_A_GPU = (*PLAIN, "sngan", "ebgan")
CRITIC_STEPS = {"wgan-gp": "critic_steps", "meg": "energy_steps", "sngan": "critic_steps"}


def plain(name: str, a: argparse.Namespace, device: torch.device) -> Callable[[int], None]:
    """A function that trains the plain script for a number of steps."""
    seeds.seed_everything(0)
    model = PLAIN[name](a.width, a.z_dim, device)
    digits = torch.rand(10_000, 28, 28) * 2 - 1
    batches: Iterator[Tensor] = iter(DataLoader(Stacks(digits, 10**9), a.batch))

    def train(steps: int) -> None:
        for _ in range(steps):
            model.step(batches, a.critic_steps)

    return train


def ours(name: str, a: argparse.Namespace, device: torch.device, graph: bool) -> Callable[[int], None]:
    """A function that trains our model for a number of steps, with or without a CUDA graph."""
    plugin = loader.load("model", name)
    own: dict[str, dict[str, Any]] = {"meg": {"mi_width": a.width}, "ebgan": {"nets": "conv"}}
    critic = {CRITIC_STEPS[name]: a.critic_steps} if name in CRITIC_STEPS else {}
    config: Any = plugin.cls.Config(
        width=a.width, batch_size=a.batch, z_dim=a.z_dim, **own.get(name, {}), **critic
    )
    pixels = torch.randint(0, 256, (10_000, *SPEC.shape), dtype=torch.uint8)
    data = Pool(pixels, pixels[:1], SPEC, device)
    seeds.seed_everything(0)
    model = plugin.cls(SPEC, config)
    model.device = device
    for net in introspection.nets(model).values():
        net.to(device)

    def train(steps: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            run = TrainingRun(
                model,
                Path(folder),
                seed=0,
                device=device,
                stop=StopRequest(),
                reporter=Saying(),
                most_steps=steps,
                # Fetch no loss before the end, as in a run of thousands of steps.
                curve_points=1,
                graph=capture.graph_for if graph else no_graph,
            )
            model.train(data, run)
            if graph and steps > capture.WARM_UP and not run.as_graph:
                raise SystemExit(f"{name}: the step was not captured ({capture.SWITCH}=0, or see above)")

    return train


def no_graph(device: torch.device) -> None:
    """Give no graph, so that each step runs normally."""


class Saying(Reporter):
    """Prints why a step was not captured."""

    def note(self, text: str) -> None:
        """Print it."""
        print(text, flush=True)


def operations(training: Callable[[int], None]) -> int:
    """The floating-point operations of one step, in its matrix products and convolutions."""
    with Operations() as counted:
        training(1)
    return counted.total


def convolution_peak(width: int, batch: int, device: torch.device, repeats: int = 20) -> float:
    """The most operations a second that a convolution of the critic reaches alone, forward, in float32."""
    best = 0.0
    for wide, side in ((width, 14), (2 * width, 7), (4 * width, 4)):
        layer = nn.Conv2d(wide, 2 * wide, 5, 2, 2).to(device, memory_format=torch.channels_last)
        x = torch.randn(batch, wide, side, side, device=device)
        x = x.to(memory_format=torch.channels_last)
        with torch.no_grad():
            with Operations() as counted:
                layer(x)
            for _ in range(3):
                began = time.perf_counter()
                for _ in range(repeats):
                    layer(x)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                best = max(best, counted.total * repeats / (time.perf_counter() - began))
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--z-dim", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--critic-steps", type=int, default=5)
    parser.add_argument("--steps", type=int, help="steps a turn; 10 on a CPU, 300 on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args()
    device = torch.device(a.device)
    on_gpu = device.type == "cuda"
    steps, warm_up = a.steps or (300 if on_gpu else 10), 20 if on_gpu else 1
    where = torch.cuda.get_device_name(device) if on_gpu else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {a.device}, {where}")
    peak = convolution_peak(a.width, a.batch, device)
    print(f"a convolution of the critic alone: {peak / 1e9:.0f} GFLOP/s at most")
    for name in ON_A_GPU if on_gpu else PLAIN:
        trainings = {"plain": plain(name, a, device)} if name in PLAIN else {}
        if on_gpu:
            trainings |= {"eager": ours(name, a, device, False), "captured": ours(name, a, device, True)}
        else:
            trainings["ours"] = ours(name, a, device, False)
        fastest = dict.fromkeys(trainings, float("inf"))
        for training in trainings.values():
            training(warm_up)
        if on_gpu:
            torch.cuda.synchronize(device)
        for _ in range(a.repeats):
            for which, training in trainings.items():
                began = time.perf_counter()
                training(steps)
                if on_gpu:
                    torch.cuda.synchronize(device)
                fastest[which] = min(fastest[which], time.perf_counter() - began)
        rates = {which: steps / seconds for which, seconds in fastest.items()}
        *_, last = rates
        # Count after the timing, because counting may invalidate a graph.
        share = operations(ours(name, a, device, False)) * rates[last] / peak
        first, *others = rates
        said = ", ".join(f"{which} {rate:.3f}" for which, rate in rates.items())
        times = ", ".join(f"{rates[which] / rates[first]:.2f}" for which in others)
        print(f"{name:<8} {said} steps a second: {times} times", flush=True)
        print(f"{'':<8} {last} has {share:.1%} of that convolution's rate", flush=True)


if __name__ == "__main__":
    main()
