"""The charts over data sets: places, shades and words against the numbers they show."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from ebbench.site import set_charts

from ebbench.board import across

HOSTILE = '"><script>&'


@pytest.fixture(scope="module")
def found() -> across.Across:
    rng = np.random.default_rng(0)
    names = ["meg", "gan", HOSTILE, "vae", "pca"]
    table = {
        n: {f"set {j}": float(v) for j, v in enumerate(rng.uniform(i / 9, 1, 12))}
        for i, n in enumerate(names)
    }
    made = across.compared("auroc", "higher", table)
    assert made is not None
    return made


def parsed(drawing) -> ET.Element:
    return ET.fromstring(str(drawing).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def of(drawing: ET.Element, tag: str, kind: str = "") -> list[ET.Element]:
    found = [e for e in drawing.iter() if e.tag.rpartition("}")[2] == tag]
    return [e for e in found if kind in e.get("class", "")] if kind else found


def test_a_bar_joins_those_that_are_alike_and_no_others(found):
    drawing = parsed(set_charts.critical_difference(found))
    *bars, critical = of(drawing, "line", "alike")
    assert len(bars) == len(found.alike)
    stems = sorted(float(e.get("d")[1:].split()[0]) for e in of(drawing, "path", "model"))
    scale = (stems[-1] - stems[0]) / (found.ranks[-1] - found.ranks[0])
    assert float(critical.get("x2")) - float(critical.get("x1")) == pytest.approx(
        scale * found.critical, abs=0.1
    )
    for bar, (first, last) in zip(bars, found.alike, strict=True):
        inside = [s for s in stems if float(bar.get("x1")) <= s <= float(bar.get("x2"))]
        assert inside == stems[first : last + 1]


def test_the_best_value_has_the_darkest_shade_and_each_cell_its_number(found):
    drawing = parsed(set_charts.heat_map(found))
    cells = of(drawing, "rect", "heat-")
    shades = [int(e.get("class").removeprefix("heat-")) for e in cells]
    # As drawn: set after set.
    values = np.array(found.values).T.ravel()
    assert len(cells) == values.size and shades[values.argmax()] == set_charts.SHADES - 1
    assert shades[values.argmin()] == 0
    assert all(
        a <= b
        for a, b in zip(*(np.array(shades)[values.argsort()][i:][: -1 or None] for i in (0, 1)), strict=False)
    )
    words = {e.text for e in of(drawing, "text", "at-middle")}
    assert {f"{v:.2f}".removeprefix("0") for v in values} == words


def test_a_dot_lies_below_the_diagonal_where_the_best_has_more(found):
    drawing = parsed(set_charts.against(found))
    groups = [g for g in of(drawing, "g", "model")]
    diagonals = of(drawing, "line", "reference")
    assert len(groups) == len(found.methods) - 1
    for other, (group, diagonal) in enumerate(zip(groups, diagonals, strict=True), start=1):
        x1, y1, x2, y2 = (float(diagonal.get(n)) for n in ("x1", "y1", "x2", "y2"))
        for dot, a, b in zip(of(group, "circle"), found.values[0], found.values[other], strict=True):
            height = y1 + (float(dot.get("cx")) - x1) / (x2 - x1) * (y2 - y1)
            assert (float(dot.get("cy")) > height) == (a > b)


def test_a_bold_line_is_the_mean_of_the_faint_ones():
    seeds = [[0.0] * len(set_charts.SHARES), [1.0] * len(set_charts.SHARES)]
    drawing = parsed(set_charts.along({"meg": seeds}, "a title", "AUROC"))
    heights = {
        kind: [float(line.get("d").split()[1].split("h")[0]) for line in of(drawing, "path", kind)]
        for kind in ("faint", "bold")
    }
    assert len(heights["faint"]) == 2
    assert heights["bold"] == [pytest.approx(sum(heights["faint"]) / 2, abs=0.02)]


def test_a_name_is_text(found):
    for chart in set_charts.drawings(found):
        drawing = parsed(chart.draw())
        assert not of(drawing, "script")
        assert any(HOSTILE in (e.text or "") for e in drawing.iter())
