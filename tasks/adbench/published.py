"""What ADBench reports, with its source. No number of a run depends on it."""

from __future__ import annotations

from ebbench import Published

PUBLISHED: tuple[Published, ...] = ()
