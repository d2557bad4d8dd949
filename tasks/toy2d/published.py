"""Published results for the 2-D toy distributions, with sources. No number of a run depends on them."""

from __future__ import annotations

from ebbench import Published

VEEGAN = "Srivastava et al., VEEGAN (2017), Table 1; 2,500 samples, 5 runs"
PACGAN = "Lin et al., PacGAN (2018), Table 1"
DDLS = "Che et al., DDLS (2020), as recalled; 10,000 samples, 4 standard deviations"

PUBLISHED: tuple[Published, ...] = (
    Published.row("GAN (VEEGAN's)", {"modes_8gaussians": 1, "high_quality_3_8gaussians": 0.993}, VEEGAN),
    Published.row("ALI (VEEGAN's)", {"modes_8gaussians": 2.8, "high_quality_3_8gaussians": 0.0013}, VEEGAN),
    Published.row(
        "Unrolled GAN (VEEGAN's)", {"modes_8gaussians": 7.6, "high_quality_3_8gaussians": 0.356}, VEEGAN
    ),
    Published.row("VEEGAN", {"modes_8gaussians": 8, "high_quality_3_8gaussians": 0.529}, VEEGAN),
    Published.row("GAN (VEEGAN's)", {"modes_25gaussians": 3.3, "high_quality_3_25gaussians": 0.005}, VEEGAN),
    Published.row("ALI (VEEGAN's)", {"modes_25gaussians": 15.8, "high_quality_3_25gaussians": 0.016}, VEEGAN),
    Published.row(
        "Unrolled GAN (VEEGAN's)", {"modes_25gaussians": 23.6, "high_quality_3_25gaussians": 0.16}, VEEGAN
    ),
    Published.row("VEEGAN", {"modes_25gaussians": 24.6, "high_quality_3_25gaussians": 0.40}, VEEGAN),
    Published.row(
        "GAN (PacGAN's)", {"modes_8gaussians": (6.3, 0.5), "high_quality_3_8gaussians": 0.982}, PACGAN
    ),
    Published.row("PacGAN4", {"modes_8gaussians": 7.8, "high_quality_3_8gaussians": 0.959}, PACGAN),
    Published.row(
        "GAN (PacGAN's)", {"modes_25gaussians": (17.3, 0.8), "high_quality_3_25gaussians": 0.948}, PACGAN
    ),
    Published.row("PacGAN4", {"modes_25gaussians": (24.8, 0.2), "high_quality_3_25gaussians": 0.936}, PACGAN),
    Published.row(
        "GAN (DDLS's)",
        {"modes_25gaussians": (24.8, 0.2), "high_quality_4_25gaussians": (0.70, 0.09)},
        DDLS,
        "recalled",
    ),
    Published.row(
        "DRS",
        {"modes_25gaussians": (24.8, 0.2), "high_quality_4_25gaussians": (0.90, 0.02)},
        DDLS,
        "recalled",
    ),
    Published.row(
        "DDLS",
        {"modes_25gaussians": (24.8, 0.2), "high_quality_4_25gaussians": (0.98, 0.02)},
        DDLS,
        "recalled",
        model="ddls",
        options={"base": "gan", "ddls.calibrated": True},
    ),
)
