"""The classifier of MEG's authors, which counts modes under the protocol `published`.

It takes images (n, 1, 28, 28) with values in [0, 1] and knows 10 digits. The classifier of the protocol
`clean`, which all digit tasks share, is in `ebbench.metrics.digits`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ebbench.metrics.digits.classifier import BATCH

WEIGHTS = Path(__file__).parent / "weights"


class PublishedClassifier(nn.Module):
    """The classifier of MEG's authors: PyTorch's MNIST example as of 2018.

    They never switch it to eval mode, so dropout is part of the protocol: on whole feature maps after the
    second convolution and on single units before the last layer, each with probability 1/2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, 5)
        self.conv2 = nn.Conv2d(10, 20, 5)
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The logits, (n, 10); with dropout if a CPU generator for the masks is given."""
        maps, units = self._masks(len(x), generator, x.device)
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x) * maps, 2))
        x = F.relu(self.fc1(x.flatten(1))) * units
        logits: Tensor = self.fc2(x)
        return logits

    def digits(self, x: Tensor, seed: int) -> Tensor:
        """The digits, int64 (n,), with dropout; deterministic for the same images and seed.

        The masks are drawn from the seed and the images' bytes, so they depend neither on the global random
        state nor on which chunks an interrupted scoring has already done.
        """
        content = x.to("cpu", torch.float32).contiguous().numpy()
        digest = hashlib.blake2b(content.data, digest_size=8, key=seed.to_bytes(16, "big", signed=True))
        generator = torch.Generator().manual_seed(int.from_bytes(digest.digest(), "big") >> 1)
        return torch.cat([self(part, generator).argmax(1) for part in x.split(BATCH)])

    @staticmethod
    def _masks(n: int, generator: torch.Generator | None, device: torch.device) -> tuple[Tensor, Tensor]:
        if generator is None:
            one = torch.ones((), device=device)
            return one, one
        kept = 2.0 * (torch.rand(n, 70, generator=generator) < 0.5)
        return kept[:, :20, None, None].to(device), kept[:, 20:].to(device)


def load_published(device: torch.device) -> PublishedClassifier:
    """The published classifier in eval mode, on `device`; its method `digits` applies dropout."""
    with torch.device("meta"):
        net = PublishedClassifier()
    net.load_state_dict(load_file(WEIGHTS / "published.safetensors"), assign=True)
    return net.eval().requires_grad_(False).to(device)
