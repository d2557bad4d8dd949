"""Published results for MNIST samples. No number of a run depends on them.

EBGAN's paper only shows histograms of its score, so there is no number to list.
"""

from __future__ import annotations

from ebbench import Published

PUBLISHED: tuple[Published, ...] = ()
