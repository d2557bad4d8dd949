"""Published results on CIFAR-10, with sources. No number of a run depends on them."""

from __future__ import annotations

from typing import Any

from ebbench import Published

# Published rows use Inception features and 50,000 samples.
EXACT: dict[str, Any] = {"features": "inception", "samples": 50_000, "source": "cifar10"}

EN_GAN = "Kumar et al., EnGAN (ICLR 2019 submission, first version of MEG), CIFAR-10 table"
MEG = "Kumar et al., MEG (2019), Table 2"
WGAN_GP = "Gulrajani et al., Improved Training of Wasserstein GANs (2017), Table 3"
DDPM = "Ho et al., Denoising Diffusion Probabilistic Models (2020), Table 1"
MIMICRY = "mimicry (README of the library): 100,000 iterations, 50,000 against 50,000 images"
DDLS = "Che et al., DDLS (2020), as recalled"
CALIBRATED = {"base": "sngan", "ddls.calibrated": True}

PUBLISHED: tuple[Published, ...] = (
    Published.row(
        "Real data (in MEG's table)",
        {"is": (11.24, 0.12), "fid": 7.8},
        EN_GAN,
        model="real-data",
        protocol="train-reference",
        options=EXACT,
    ),
    Published.row(
        "WGAN-GP (run by MEG's authors, first version)",
        {"is": (6.52, 0.08), "fid": 35.85},
        EN_GAN,
        options=EXACT,
    ),
    Published.row(
        "EnGAN generator (first version of MEG)",
        {"is": (6.31, 0.06), "fid": 39.01},
        EN_GAN,
        options=EXACT,
    ),
    Published.row(
        "WGAN-GP (run by MEG's authors)",
        {"is": (6.81, 0.08), "fid": 30.95},
        MEG,
        "recalled",
        options=EXACT,
    ),
    # Their script compares with the training images; their chains omit the prior and have an inexact ratio.
    Published.row(
        "MEG",
        {"is": (6.49, 0.05), "fid": 35.02},
        MEG,
        "recalled",
        model="meg",
        sampler="generator",
        protocol="train-reference",
        options=EXACT,
    ),
    Published.row(
        "MEG, latent MCMC",
        {"is": (6.94, 0.03), "fid": 33.85},
        MEG,
        "recalled",
        model="meg",
        sampler="mala",
        protocol="train-reference",
        options=EXACT | {"mala.prior": False, "mala.exact": False},
    ),
    Published.row("WGAN-GP, ResNet", {"is": (7.86, 0.07)}, WGAN_GP, model="wgan-gp:resnet", options=EXACT),
    Published.row(
        "WGAN-GP, ResNet (mimicry)", {"is": (7.33, 0.02), "fid": (22.29, 0.06)}, MIMICRY, options=EXACT
    ),
    Published.row("DCGAN", {"is": (6.16, 0.07)}, WGAN_GP, options=EXACT),
    Published.row("Improved GAN", {"is": (6.86, 0.06)}, WGAN_GP, options=EXACT),
    Published.row("ALI", {"is": (5.34, 0.05)}, WGAN_GP, options=EXACT),
    Published.row("DFM", {"is": (7.72, 0.13)}, WGAN_GP, options=EXACT),
    # The settings of the paper budget, compared with the training images.
    Published.row(
        "SN-GAN (mimicry)",
        {"is": (7.97, 0.06), "fid": (16.77, 0.04)},
        MIMICRY,
        model="sngan",
        protocol="train-reference",
        options=EXACT,
    ),
    Published.row("SN-GAN", {"is": (8.22, 0.05)}, DDPM, "quoted", model="sngan", options=EXACT),
    Published.row(
        "SN-GAN + DDLS", {"is": (9.09, 0.10)}, DDPM, "quoted", model="ddls", options=EXACT | CALIBRATED
    ),
    Published.row(
        "SN-GAN + DDLS, not calibrated",
        {"is": (9.05, 0.11)},
        DDLS,
        "recalled",
        model="ddls",
        options=EXACT | CALIBRATED | {"ddls.calibrated": False},
    ),
    # No source at hand states their reference images, so they are not listed beside our rows.
    Published.row("SN-GAN, its FID", {"fid": 21.7}, DDPM, "quoted", options=EXACT),
    Published.row("SN-GAN + DDLS, its FID", {"fid": 15.42}, DDPM, "quoted", options=EXACT),
    Published.row("SN-GAN + DDLS, not calibrated, its FID", {"fid": 15.76}, DDLS, "recalled", options=EXACT),
)
