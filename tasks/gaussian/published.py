"""Published results for the Gaussians, with sources. No number of a run depends on them."""

from __future__ import annotations

from ebbench import Published

PAPER = "Balaji et al., Entropic GANs meet VAEs (2019), table of Gaussians"


def _published() -> tuple[Published, ...]:
    table = {5: (-16.38, -17.94), 10: (-35.15, -43.60), 20: (-58.04, -66.58), 30: (-91.80, -100.69)}
    table[64] = (-203.46, -217.52)
    gaps = {f"relative_gap_{dim}": 100 * (exact - bound) / -exact for dim, (exact, bound) in table.items()}
    mean = {"relative_gap": sum(gaps.values()) / len(gaps)}
    return tuple(
        Published(
            label=label,
            metrics={name: (round(value, 2), None) for name, value in values.items()},
            source=f"{PAPER}; the relative gaps are ours, from its exact and surrogate values",
            confidence="derived",
            model="entropic-gan",
            options=options | {"source": "random"},
        )
        for label, values, options in (
            ("Entropic GAN", gaps, {}),
            ("Entropic GAN, mean", mean, {"dim": "all"}),
        )
    )


PUBLISHED = _published()
