"""Published results for MNIST with a held-out digit, with sources. No number of a run depends on them."""

from __future__ import annotations

from ebbench import Published

EN_GAN = "Kumar et al., EnGAN (ICLR 2019 submission, first version of MEG), MNIST anomaly table"
JEBM = "Cui, Wu, Han, Learning Joint Latent Space EBM Prior Model for Multi-layer Generator (2023)"

PUBLISHED: tuple[Published, ...] = (
    Published.row(
        "MEG, mean of the last 10 epochs",
        {
            "auprc_last10_1": (0.281, 0.035),
            "auprc_last10_4": (0.401, 0.061),
            "auprc_last10_5": (0.402, 0.062),
            "auprc_last10_7": (0.29, 0.04),
            "auprc_last10_9": (0.342, 0.034),
        },
        EN_GAN,
        model="meg",
    ),
    Published.row(
        "BiGAN (Zenati et al.)",
        {
            "auprc_1": (0.287, 0.023),
            "auprc_4": (0.443, 0.029),
            "auprc_5": (0.514, 0.029),
            "auprc_7": (0.347, 0.017),
            "auprc_9": (0.307, 0.028),
        },
        f"{EN_GAN}, from Zenati et al. (2018)",
        "quoted",
        model="bigan",
    ),
    Published.row(
        "VAE (Zenati et al.)",
        {"auprc_1": 0.063, "auprc_4": 0.337, "auprc_5": 0.325, "auprc_7": 0.148, "auprc_9": 0.104},
        f"{EN_GAN}, from Zenati et al. (2018)",
        "quoted",
        model="vae",
    ),
    Published.row(
        "Latent EBM",
        {"auprc_1": 0.336, "auprc_4": 0.63, "auprc_5": 0.619, "auprc_7": 0.463, "auprc_9": 0.413},
        JEBM,
        "quoted",
    ),
    Published.row(
        "HVAE",
        {"auprc_1": 0.494, "auprc_4": 0.92, "auprc_5": 0.913, "auprc_7": 0.68, "auprc_9": 0.791},
        JEBM,
        "quoted",
    ),
)
