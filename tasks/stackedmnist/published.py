"""Published results for StackedMNIST, with sources. No number of a run depends on them."""

from __future__ import annotations

from typing import Any

from ebbench import Published

EN_GAN = "Kumar et al., EnGAN (ICLR 2019 submission, first version of MEG), Table 1"
VEEGAN = "Srivastava et al., VEEGAN (2017), Table 2"
PACGAN = "Lin et al., PacGAN (2018)"
# The options under which a published row is listed.
THREE: dict[str, Any] = {"stacks": 3, "source": "mnist"}
FOUR: dict[str, Any] = {"stacks": 4, "source": "mnist"}


def _unrolled(
    label: str, share: str, modes: tuple[float, float | None], kl: tuple[float, float | None]
) -> Published:
    return Published.row(
        f"{label} (Unrolled setup, D = {share} G)",
        {"modes": modes, "kl": kl},
        f"{PACGAN}, Table 3",
        options=THREE,
    )


PUBLISHED: tuple[Published, ...] = (
    Published.row(
        "MEG", {"modes": 1000.0, "kl": 0.0313}, EN_GAN, model="meg", sampler="generator", options=THREE
    ),
    Published.row(
        "MEG (arXiv version)",
        {"modes": (1000.0, 0.0), "kl": (0.0313, 1e-3)},
        "Kumar et al., MEG (2019), Table 1",
        "recalled",
        options=THREE,
    ),
    Published.row(
        "WGAN-GP (run by MEG's authors)",
        {"modes": 959.0, "kl": 0.7276},
        EN_GAN,
        model="wgan-gp:meg-authors",
        sampler="generator",
        options=THREE,
    ),
    Published.row(
        "PacGAN (in MEG's table)",
        {"modes": (1000.0, 0.0), "kl": (0.06, 1e-2)},
        f"{EN_GAN}, from MINE",
        "quoted",
        options=THREE,
    ),
    Published.row(
        "PacDCGAN2",
        {"kl": (0.06, 0.003)},
        f"{PACGAN}, VEEGAN setup, 10 trials, standard error",
        options=THREE,
    ),
    Published.row(
        "PacDCGAN3",
        {"kl": (0.06, 0.003)},
        f"{PACGAN}, VEEGAN setup, 10 trials, standard error",
        options=THREE,
    ),
    Published.row(
        "PacDCGAN4",
        {"kl": (0.07, 0.005)},
        f"{PACGAN}, VEEGAN setup, 10 trials, standard error",
        options=THREE,
    ),
    Published.row(
        "DCGAN (run by PacGAN's authors)",
        {"modes": (78.9, 6.46), "kl": (4.50, 0.127)},
        f"{PACGAN}, VEEGAN setup",
        options=THREE,
    ),
    Published.row("VEEGAN (VEEGAN setup)", {"modes": 150.0, "kl": 2.95}, VEEGAN, options=THREE),
    Published.row("Unrolled GAN (VEEGAN setup)", {"modes": 48.7, "kl": 4.32}, VEEGAN, options=THREE),
    Published.row("ALI (VEEGAN setup)", {"modes": 16.0, "kl": 5.40}, VEEGAN, options=THREE),
    Published.row("DCGAN (VEEGAN setup)", {"modes": 99.0, "kl": 3.40}, VEEGAN, options=THREE),
    _unrolled("DCGAN", "1/4", (30.6, 20.73), (5.99, 0.42)),
    _unrolled("DCGAN", "1/2", (628.0, 140.9), (2.58, 0.75)),
    _unrolled("Unrolled GAN, 1 step", "1/4", (65.4, None), (5.91, None)),
    _unrolled("Unrolled GAN, 1 step", "1/2", (523.6, None), (2.44, None)),
    _unrolled("Unrolled GAN, 5 steps", "1/4", (236.4, None), (4.67, None)),
    _unrolled("Unrolled GAN, 5 steps", "1/2", (732.0, None), (1.66, None)),
    _unrolled("Unrolled GAN, 10 steps", "1/4", (327.2, None), (4.66, None)),
    _unrolled("Unrolled GAN, 10 steps", "1/2", (817.4, None), (1.43, None)),
    _unrolled("PacDCGAN4", "1/4", (667.4, 29.0), (1.81, 0.15)),
    _unrolled("PacDCGAN4", "1/2", (820.2, 25.5), (1.15, 0.14)),
    Published.row(
        "MEG", {"modes": 10000.0, "kl": 0.0480}, EN_GAN, model="meg", sampler="generator", options=FOUR
    ),
    Published.row(
        "MEG (arXiv version)",
        {"modes": (10000.0, 0.0), "kl": (0.0480, 1e-3)},
        "Kumar et al., MEG (2019), Table 1",
        "recalled",
        options=FOUR,
    ),
    Published.row(
        "WGAN-GP (run by MEG's authors)",
        {"modes": 9538.0, "kl": 0.9144},
        EN_GAN,
        model="wgan-gp:meg-authors",
        sampler="generator",
        options=FOUR,
    ),
)
