"""The figure of a finding: one line per method, one dot per seed, and a bar for the 95 % interval.

A code host shows this file too. So the file holds its own colours and its own light background.
"""

from __future__ import annotations

from ebbench.site import svg, wording
from ebbench.site.filled import Figure
from markupsafe import Markup

_LINE, _TOP, _WIDTH = 20, 42, 560
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.l{text-anchor:end}.m{text-anchor:middle;fill:#555}"
    ".g{stroke:#ddd}.i{stroke:#0b5cad;stroke-width:2}.c{stroke:#777;stroke-width:2}"
    ".d{fill:#0b5cad;fill-opacity:.55}.k{fill:#777;fill-opacity:.55}.b{font-weight:600}"
)


def drawn(figure: Figure) -> str:
    """The figure as the text of an SVG file; the same rows give the same bytes."""
    name = figure.metric.name
    log = figure.log
    cells = [(label, row, row.metrics[name]) for label, row in figure.lines]
    values = [v for _, _, cell in cells for v in cell.values if v is not None and (v > 0 or not log)]
    # A letter of this size is about 7 wide.
    left = 24 + 7 * max(len(label.replace(" (control)", "")) for label, _, _ in cells)
    # The interval of two seeds can be far wider than the dots, so the margins cut it off.
    axis = svg.Axis.around(values, left + 8, _WIDTH - 20, log=log)
    height = _TOP + _LINE * len(cells) + 10
    parts = [svg.element("style", Markup(_STYLE))]
    parts.append(svg.element("rect", x=0, y=0, width=_WIDTH, height=height, fill="#fff"))
    unit = wording.unit(figure.metric)
    parts.append(svg.text(8, 12, wording.metric(figure.metric) + (f" ({unit})" if unit else ""), "b"))
    for value, words in axis.ticks():
        parts.append(svg.line(axis.at(value), _TOP - 4, axis.at(value), height - 8, "g"))
        parts.append(svg.text(axis.at(value), _TOP - 12, words, "m"))
    for place, (label, row, cell) in enumerate(cells):
        y = _TOP + _LINE * place + _LINE / 2
        control = row.kind == "control"
        parts.append(svg.text(left - 10, y, label.replace(" (control)", ""), "l"))
        found = cell.interval
        if found.low is not None and found.high is not None:
            ends = [axis.at(min(max(v, axis.low), axis.high)) for v in (found.low, found.high)]
            parts.append(svg.line(ends[0], y, ends[1], y, "c" if control else "i"))
        for seed in (v for v in cell.values if v is not None):
            x = axis.at(min(max(seed, axis.low), axis.high))
            parts.append(svg.element("circle", cx=x, cy=y, r=4, class_="k" if control else "d"))
    described = "; ".join(f"{label} {cell.interval.mean:.3g}" for label, _, cell in cells)
    return (
        str(
            svg.element(
                "svg",
                svg.element("title", wording.metric(figure.metric)),
                svg.element("desc", described),
                *parts,
                xmlns="http://www.w3.org/2000/svg",
                viewBox=f"0 0 {_WIDTH} {height}",
                width=_WIDTH,
                height=height,
            )
        )
        + "\n"
    )
