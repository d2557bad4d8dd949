"""Published results for MNIST with few labels, with sources. No number of a run depends on them."""

from __future__ import annotations

from ebbench import Published

EBGAN = "Zhao, Mathieu, LeCun, EBGAN (2016), Table 2; mean and spread of 15 seeds"
LADDER = "Rasmus et al., Semi-Supervised Learning with Ladder Networks (2015), Table 1"


def _row(label: str, labels: int, error: float, spread: float, source: str, **rest: object) -> Published:
    return Published.row(label, {"error": (error, spread)}, source, options={"labels": labels}, **rest)  # type: ignore[arg-type]


PUBLISHED: tuple[Published, ...] = (
    _row("Ladder network, as in EBGAN", 100, 1.36, 0.21, EBGAN, model="ladder"),
    _row("Ladder network, as in EBGAN", 200, 1.24, 0.09, EBGAN, model="ladder"),
    _row("Ladder network, as in EBGAN", 1000, 1.04, 0.06, EBGAN, model="ladder"),
    _row("Ladder network within EBGAN", 100, 1.04, 0.12, EBGAN, model="ladder:ebgan"),
    _row("Ladder network within EBGAN", 200, 0.99, 0.12, EBGAN, model="ladder:ebgan"),
    _row("Ladder network within EBGAN", 1000, 0.89, 0.04, EBGAN, model="ladder:ebgan"),
    _row("Ladder network, bottom cost (Rasmus et al.)", 100, 1.09, 0.32, EBGAN, confidence="quoted"),
    _row("Ladder network, bottom cost (Rasmus et al.)", 1000, 0.90, 0.05, EBGAN, confidence="quoted"),
    _row("Ladder network, bottom cost (Pezeshki et al.)", 100, 1.69, 0.18, EBGAN, confidence="quoted"),
    _row("Ladder network, bottom cost (Pezeshki et al.)", 1000, 1.05, 0.02, EBGAN, confidence="quoted"),
    _row("Full ladder network", 100, 1.06, 0.37, LADDER, confidence="recalled", model="ladder:full"),
    _row("Full ladder network", 1000, 0.84, 0.08, LADDER, confidence="recalled", model="ladder:full"),
)
