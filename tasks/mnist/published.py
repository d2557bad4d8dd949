"""What papers report for samples of MNIST. No number of a run depends on it.

EBGAN's paper shows its score as histograms alone: there is no number to stand here.
"""

from __future__ import annotations

from ebbench import Published

PUBLISHED: tuple[Published, ...] = ()
