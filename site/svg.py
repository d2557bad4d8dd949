"""A small writer of SVG: elements with escaped text, and axes that turn values into positions.

The colours of a drawing are classes of the page's style sheet, so dark mode and print need no second drawing.
A drawing has no ids and no date, so the same values give the same bytes. Lengths are in units of the drawing;
a page stretches the drawing to the width of its text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def element(tag: str, *content: str | Markup, **attributes: str | float) -> Markup:
    """`<tag ...>content</tag>`; text and attributes are escaped, Markup is taken as it is.

    An underscore at the end of an attribute's name is dropped, others become hyphens: class_, text_anchor.
    """
    pairs = "".join(
        f' {name.removesuffix("_").replace("_", "-")}="{_value(value)}"' for name, value in attributes.items()
    )
    if not content:
        # The short form: a page has thousands of lines and dots.
        return Markup(f"<{tag}{pairs}/>")
    return Markup(f"<{tag}{pairs}>{Markup().join(content)}</{tag}>")


def _value(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else place(value)


def place(value: float) -> str:
    """A length in the drawing, rounded to 0.01. Raises ValueError if it is not finite."""
    if not math.isfinite(value):
        raise ValueError(f"a place of {value} is in no drawing")
    return f"{value:.2f}".rstrip("0").rstrip(".")


def drawing(
    width: float, height: float, title: str, description: str, *content: Markup, widest: float = 0.0
) -> Markup:
    """A whole drawing. A screen reader reads the title and the description.

    `widest` limits the width in pixels; 0 lets the drawing be as wide as the page's text.
    """
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *content,
        class_="chart",
        role="img",
        viewBox=f"0 0 {place(width)} {place(height)}",
        **({"style": f"max-width: {place(widest)}px"} if widest else {}),
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line of a class."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def text(x: float, y: float, words: str, kind: str = "") -> Markup:
    """One line of text, vertically centred at `y`. The class says which end is at `x`."""
    # 3.2 is a third of the letters' height. Browsers do not agree on "dominant-baseline".
    return element("text", words, x=x, y=y + 3.2, class_=kind)


def path(points: Iterable[tuple[float, float | None]], kind: str) -> Markup:
    """A line through the points. It has a gap where a height is None."""
    steps: list[str] = []
    pen_down = False
    for x, y in points:
        if y is None:
            pen_down = False
            continue
        steps.append(f"{'L' if pen_down else 'M'}{place(x)} {place(y)}")
        # A point between two gaps is a line of length 0. Its round end makes it a dot.
        steps += [] if pen_down else ["h0"]
        pen_down = True
    return element("path", d="".join(steps), class_=kind)


@dataclass(frozen=True)
class Axis:
    """Map values from `low` to `high` to positions from `start` to `end`, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> Axis:
        """An axis that holds `values` (at least one) with a margin. With `log`, all must be above 0."""
        low, high = (math.log10(v) if log else v for v in (min(values), max(values)))
        # One value has no width of its own.
        margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
        low, high = low - margin, high + margin
        return cls(10**low, 10**high, start, end, log=True) if log else cls(low, high, start, end)

    def at(self, value: float) -> float:
        """The position of `value`. On a logarithmic axis, a value below `low` lies at the start."""
        low, high = self.low, self.high
        if self.log:
            value = max(value, low)
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """About `most` round values, each with its text."""
        return (self.log and _log_ticks(self.low, self.high, most)) or _ticks(self.low, self.high, most)


def _ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    least = (high - low) / most
    power = math.floor(math.log10(least))
    # A fraction of whole numbers: so 3 steps of 0.1 are 0.3 and not 0.30000000000000004.
    tens, over = 10 ** max(power, 0), 10 ** max(-power, 0)
    factor = next((f for f in (1, 2, 2.5, 5) if f * tens / over >= least), 10)
    step = factor * tens / over
    # 2.4 is 48 steps of 0.05, but rounding makes it a little less.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [i * factor * tens / over for i in range(first, last + 1)]
    decimals = max(0, -power + (factor == 2.5) - (factor == 10))
    plain = decimals <= 5 and max(abs(low), abs(high)) < 1e7
    return [(v, f"{v:,.{decimals}f}" if plain else f"{v:.4g}") for v in values]


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Powers of ten, and 2 and 5 times each if few powers fit. No tick at all if only one would fit."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / most))
    factors = (1,) if last - first > 3 else (1, 2, 5)
    values = [
        (factor, power)
        for power in range(first, last + 1, every)
        for factor in factors
        if low <= factor * 10.0**power <= high
    ]
    return [(f * 10.0**p, _power(f, p)) for f, p in values] if len(values) > 1 else []


def _power(factor: int, power: int) -> str:
    if -4 <= power <= 5:
        return f"{factor * 10.0**power:,.{max(0, -power)}f}"
    tens = f"10{str(power).translate(_SUPERSCRIPT)}"
    return tens if factor == 1 else f"{factor}·{tens}"
