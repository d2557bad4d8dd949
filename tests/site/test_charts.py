"""The charts: where values lie, what stands for them in words, and that a name stays a name."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import pytest
from ebbench.site import charts, svg

import boards
from ebbench.board.row import Reference, Row
from ebbench.contract import Metric
from ebbench.record import resultfiles

NAME = "{http://www.w3.org/2000/svg}"
KL = Metric(name="kl", unit="nats", better="lower", doc="", primary=True)
HOSTILE = '"><script>alert(1)</script>&'


def row(model: str, *values: float, kind: str = "model", published: float | None = None) -> Row:
    reference = {} if published is None else {"kl": Reference(published, None, "a paper", "verbatim")}
    return boards.row("kl", model, *values, kind=kind, published=reference, tier="claimed")


def parsed(drawing: str) -> ET.Element:
    """The drawing as XML, as a page's parser puts it into its namespace."""
    return ET.fromstring(str(drawing).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def of_class(drawing: ET.Element, kind: str) -> list[ET.Element]:
    return [e for e in drawing.iter() if kind in e.get("class", "").split()]


@pytest.mark.parametrize(
    ("low", "high", "log", "texts"),
    [
        (0, 1, False, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0, 10_000, False, ["0", "2,000", "4,000", "6,000", "8,000", "10,000"]),
        (-3, 3, False, ["-3", "-2", "-1", "0", "1", "2", "3"]),
        (0.031, 0.054, False, ["0.035", "0.040", "0.045", "0.050"]),
        (0, 5e-7, False, ["0", "1e-07", "2e-07", "3e-07", "4e-07", "5e-07"]),
        (0.02, 5, True, ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5"]),
        (1e-9, 1e3, True, ["10⁻⁹", "10⁻⁷", "10⁻⁵", "0.001", "0.1", "10", "1,000"]),
        (2.1, 2.4, True, ["2.10", "2.15", "2.20", "2.25", "2.30", "2.35", "2.40"]),
    ],
)
def test_ticks_are_round_and_read_well(low: float, high: float, log: bool, texts: list[str]):
    axis = svg.Axis(low, high, 0, 100, log=log)
    assert [text for _, text in axis.ticks()] == texts
    places = [axis.at(value) for value, _ in axis.ticks()]
    assert places == sorted(places) and places[0] >= -1e-9 and places[-1] <= 100 + 1e-9


def test_the_interval_of_a_share_stays_within_0_and_1():
    values = (0.1, 0.9, 0.95)
    share = Metric(name="f1", unit="share", better="higher", doc="")
    one = boards.row("f1", "a", *values)
    found = one.metrics["f1"].interval
    assert found.low < 0 and found.high > 1, "Student's t knows no limits"
    assert charts.bounds(one.metrics["f1"], share) == (0.0, 1.0)
    assert min(charts.seen([one], share)) == 0.0 and max(charts.seen([one], share)) == 1.0
    nats = Metric(name="f1", unit="nats", better="higher", doc="")
    assert charts.bounds(one.metrics["f1"], nats) == (found.low, found.high)
    alone = boards.row("f1", "a", 0.5)
    assert charts.bounds(alone.metrics["f1"], share) == (None, None)


@pytest.mark.parametrize("values", [[3.0], [0.0], [-2.0, -2.0], [1e299, -1e299], [1e-300, 2e-300], [5, 7.5]])
def test_every_value_lies_on_its_axis(values: list[float]):
    for log in (False, True) if min(values) > 0 else (False,):
        axis = svg.Axis.around(values, 10, 90, log=log)
        assert all(10 < axis.at(value) < 90 for value in values)
        assert all(math.isfinite(value) and text for value, text in axis.ticks())


def test_a_value_beyond_all_axes_is_an_error_and_no_drawing():
    with pytest.raises((ValueError, OverflowError)):
        svg.line(svg.Axis.around([1.0, math.inf], 0, 1).at(2.0), 0, 0, 0, "line")


def test_intervals_are_where_their_values_are():
    rows = [row("a", 1.0, 2.0, 3.0, published=2.5), row("b", 4.0), row("c", 5.0, 5.0, kind="control")]
    drawn = parsed(charts.intervals(rows, KL, "kl by method"))
    assert drawn.get("role") == "img" and drawn.find(f"{NAME}title").text == "kl by method"
    assert drawn.find(f"{NAME}desc").text == "a 2.0 ± 2.5; b 4; c 5 ± 0"
    dots = [float(e.get("cx")) for e in of_class(drawn, "seed")]
    assert len(dots) == 6 and dots[:4] == sorted(dots[:4])
    # Seeds at 1, 2, 3 and 4 are as far apart as each other, and a mean stands at its seed.
    assert dots[1] - dots[0] == pytest.approx(dots[3] - dots[2], abs=0.02)
    means = [float(e.get("x1")) for e in of_class(drawn, "mean")]
    assert means == [dots[1], dots[3], dots[4]]
    assert len(of_class(drawn, "interval")) == 2, "one seed has no interval"
    crosses = of_class(drawn, "published")
    assert (float(crosses[0].get("x1")) + float(crosses[0].get("x2"))) / 2 == pytest.approx(
        (dots[1] + dots[2]) / 2, abs=0.02
    )
    assert [e.get("class") for e in drawn.iter(f"{NAME}g") if e.get("class")] == ["model", "model", "control"]
    heights = [float(e.get("y1")) + float(e.get("y2")) for e in of_class(drawn, "mean")]
    assert heights == sorted(heights), "the first row is at the top"


def test_values_of_many_decades_are_shown_by_their_logarithms():
    drawn = parsed(charts.intervals([row("a", 0.01), row("b", 1.0), row("c", 100.0)], KL, "kl"))
    a, b, c = (float(e.get("x1")) for e in of_class(drawn, "mean"))
    assert b - a == pytest.approx(c - b, abs=0.02)


def test_a_name_of_any_kind_is_text_and_nothing_else():
    for name in (HOSTILE, "n" * 300, " ", "two\nlines"):
        drawn = parsed(charts.intervals([row(name, 1.0, 2.0), row("b", 2.0)], KL, name))
        assert not [e for e in drawn.iter() if "script" in e.tag]
    assert HOSTILE in parsed(charts.intervals([row(HOSTILE, 1.0)], KL, "t")).find(f"{NAME}desc").text


def test_the_same_values_give_the_same_bytes_and_no_ids():
    rows = [row("a", 1.0, 2.0), row("b", 3.0)]
    drawn = charts.intervals(rows, KL, "kl")
    assert drawn == charts.intervals(rows, KL, "kl")
    assert " id=" not in drawn and "style=" not in drawn and "#" not in drawn


def test_a_line_breaks_off_where_there_is_no_value():
    drawn = svg.path([(0, 1.0), (1, 2.0), (2, None), (3, 4.0)], "line")
    assert 'd="M0 1h0L1 2M3 4h0"' in drawn


def test_curves_against_steps_and_seconds():
    folder = Path(__file__).resolve().parents[2] / "results" / "stackedmnist" / "meg"
    found, _ = resultfiles.load_all(folder)
    result = next(one for one in found if len(one.training.curves.step) > 1)
    series = next(iter(result.training.curves.series))
    drawn = parsed(charts.along({"one": [result], "two": [result]}, series, "a title"))
    lines = [e for e in of_class(drawn, "line") if e.tag == f"{NAME}path"]
    assert [e.get("class") for e in lines] == ["line line-0", "line line-1"] * 2
    texts = [e.text for e in drawn.iter(f"{NAME}text")]
    # Whose line is whose stands in the legend of the page.
    assert {"steps", "seconds", series} <= set(texts) and not {"one", "two"} & set(texts)
    assert charts.along({"one": [result]}, "no such series", "a title") is None


def test_a_chart_that_cannot_be_drawn_is_named_and_the_others_are_there():
    odd = {"recall": [0, 1], "precision": ["a", None, 3]}
    drawn, problems = charts.drawn(
        [
            charts.Chart("odd", "", lambda: charts.precision_recall({"m": odd}, "t")),
            charts.Chart("empty", "", lambda: None),
            charts.Chart("good", "a line", lambda: charts.counts({"m": [1, 2, 3]}, "t")),
        ],
        "tasks/t.html",
    )
    assert [(chart.title, chart.said) for chart, _ in drawn] == [("good", "a line")]
    assert [problem.path for problem in problems] == [Path("tasks/t.html")]
    assert "'odd'" in problems[0].reason and "ValueError" in problems[0].reason


@pytest.mark.parametrize(("low", "high"), [(0.02, 6.0), (0.015, 0.9), (0.06, 2e4)])
def test_the_texts_of_a_short_axis_keep_apart(low: float, high: float):
    axis = svg.Axis(low, high, 8, 128, log=True)
    ticks = charts.with_room(axis, 3)
    assert len(ticks) > 1
    for (left, words), (right, others) in pairwise(ticks):
        assert axis.at(right) - axis.at(left) > (len(words) + len(others)) / 2 * charts.LETTER
