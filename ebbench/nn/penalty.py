"""Gradient penalties of energies and critics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["full", "channelwise"]
Epsilon = Literal["sample", "element"]


def squared_gradient_norm(
    function: Callable[[Tensor], Tensor], x: Tensor, *, norm: Norm = "full", backward: bool = True
) -> tuple[Tensor, Tensor]:
    """Values of `function` at `x` (n, ...), shape (n,), and the squared norms of its gradient in x.

    "full" takes the norm over the whole example, (n,). "channelwise" takes it over axis 1 only, one value per
    pixel, (n, H, W). That is a bug of several released codes, MEG's among them, which never flatten the
    gradient; its mean is the full squared norm divided by the number of pixels.

    The norms are differentiable; `backward=False` drops their graph, which scoring does not need.
    """
    x = x.detach().requires_grad_(True)
    values = function(x)
    (gradient,) = torch.autograd.grad(values.sum(), x, create_graph=backward)
    squares = gradient.square()
    return values, squares.sum(1) if norm == "channelwise" else squares.flatten(1).sum(1)


def two_sided_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    norm: Norm = "full",
    epsilon: Epsilon = "sample",
) -> Tensor:
    """Mean of (||grad critic(x)|| - 1)^2 at points between real and fake examples, a scalar.

    Gulrajani et al. (2017), equation 3: x = epsilon * real + (1 - epsilon) * fake with one uniform epsilon
    per sample. epsilon="element" draws one per value, as MEG's released baseline does.
    """
    shape = real.shape if epsilon == "element" else (len(real), *[1] * (real.dim() - 1))
    mix = torch.rand(shape, device=real.device)
    between = mix * real + (1 - mix) * fake
    _, squares = squared_gradient_norm(critic, between, norm=norm)
    # The square root has an infinite gradient at zero; the clamp keeps it finite.
    return (squares.clamp_min(torch.finfo(squares.dtype).tiny).sqrt() - 1).square().mean()
