"""A small writer of SVG: elements whose text is escaped, and axes that turn values into places.

A drawing has no ids, no style of its own and no clock: its colours are classes of the page's style sheet, so
that dark mode and print need no second drawing, and the same values give the same bytes. Lengths are in units
of the drawing; a page stretches it to the width of its text.
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
        # A page has thousands of lines and dots.
        return Markup(f"<{tag}{pairs}/>")
    return Markup(f"<{tag}{pairs}>{Markup().join(content)}</{tag}>")


def _value(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else place(value)


def place(value: float) -> str:
    """A length in the drawing, to a hundredth. Raises ValueError for what lies nowhere."""
    if not math.isfinite(value):
        raise ValueError(f"a place of {value} is in no drawing")
    return f"{value:.2f}".rstrip("0").rstrip(".")


def drawing(
    width: float, height: float, title: str, description: str, *content: Markup, widest: float = 0.0
) -> Markup:
    """A whole drawing, with the words that stand for it where it is not seen.

    `widest` is how many pixels a page may stretch it to, where that is not the width of its text.
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
    """One line of text with its middle at the height `y`; the class says which end stands at `x`."""
    # A third of the letters' height: "dominant-baseline" is not the same in every browser.
    return element("text", words, x=x, y=y + 3.2, class_=kind)


def path(points: Iterable[tuple[float, float | None]], kind: str) -> Markup:
    """A line through the points; where a height is None it breaks off and begins anew."""
    steps: list[str] = []
    pen_down = False
    for x, y in points:
        if y is None:
            pen_down = False
            continue
        steps.append(f"{'L' if pen_down else 'M'}{place(x)} {place(y)}")
        # A point between two gaps is a line of no length, which a round end makes a dot.
        steps += [] if pen_down else ["h0"]
        pen_down = True
    return element("path", d="".join(steps), class_=kind)


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` laid out from `start` to `end` of the drawing, by logarithm or not."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> Axis:
        """The axis that holds `values`, at least one, with a margin. By logarithm all must be above 0."""
        low, high = (math.log10(v) if log else v for v in (min(values), max(values)))
        # One value has no width of its own.
        margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
        low, high = low - margin, high + margin
        return cls(10**low, 10**high, start, end, log=True) if log else cls(low, high, start, end)

    def at(self, value: float) -> float:
        """Where `value` lies; by logarithm, what is below the axis lies at its start."""
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
    # As a fraction of whole numbers, so that 3 steps of 0.1 are 0.3 and no 0.30000000000000004.
    tens, over = 10 ** max(power, 0), 10 ** max(-power, 0)
    factor = next((f for f in (1, 2, 2.5, 5) if f * tens / over >= least), 10)
    step = factor * tens / over
    # 2.4 is 48 steps of 0.05, and less by a rounding.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [i * factor * tens / over for i in range(first, last + 1)]
    decimals = max(0, -power + (factor == 2.5) - (factor == 10))
    plain = decimals <= 5 and max(abs(low), abs(high)) < 1e7
    return [(v, f"{v:,.{decimals}f}" if plain else f"{v:.4g}") for v in values]


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Powers of ten; with few of those in the range their doubles and fives too, else none at all."""
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
